# pyright: reportPrivateImportUsage=false
# diffusers imports its classes lazily, which hides that they are public.
"""Owns drawing validation pictures and class images with a base that is being trained, or about to be."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from diffusers import StableDiffusionXLPipeline
from PIL import Image

from lorasmith import rng
from lorasmith.config.runtime import ValidationConfig
from lorasmith.config.text import TextConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.class_images import draw_missing_class_images
from lorasmith.events import Emit, SamplesReady
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.png import PictureParameters, save_png
from lorasmith.sizes import Size
from lorasmith.tokens.vocabulary import TokenVocabulary


@dataclass(frozen=True)
class ValidationSampler:
    """Draws the validation prompts with the run as it stands; the same seeds each time, so that one sees it change."""

    pipeline: StableDiffusionXLPipeline
    vocabulary: TokenVocabulary
    config: ValidationConfig
    folder: Path
    seed: int
    size: Size
    base: str
    text: TextConfig

    def draw(self, step: int) -> SamplesReady:
        """Draw `count` pictures of each prompt after `step` finished updates."""
        requests = [self._request(prompt, place) for prompt, place in self._wanted]
        pictures = draw(self.pipeline, requests)
        drawn = zip(self._paths(step), self._wanted, requests, pictures, strict=True)
        for path, (prompt, _), request, picture in drawn:
            save_png(picture, path, PictureParameters(prompt, request, self.size, self.base))
        return self._told(step)

    def already_drawn(self, step: int) -> SamplesReady | None:
        """What `draw` would say, if all its pictures are there."""
        return self._told(step) if all(path.is_file() for path in self._paths(step)) else None

    @property
    def _wanted(self) -> list[tuple[str, int]]:
        return [(prompt, place) for prompt in self.config.prompts for place in range(self.config.count)]

    def _paths(self, step: int) -> list[Path]:
        return [self.folder / f"step-{step:06d}-{number:02d}.png" for number in range(len(self._wanted))]

    def _told(self, step: int) -> SamplesReady:
        return SamplesReady(step, tuple(self._paths(step)), tuple(prompt for prompt, _ in self._wanted))

    def _request(self, prompt: str, place: int) -> DrawRequest:
        wanted = self.config
        settings = DrawSettings(steps=wanted.steps, guidance=wanted.guidance, size=self.size, text=self.text)
        # 32 bits, so that the seed in the picture's metadata can be typed into any program.
        seed = rng.key(self.seed, "samples", prompt, place) % 2**32
        return DrawRequest(self.vocabulary.expand(prompt), seed, settings=settings)


def draw_class_images(
    pipeline: StableDiffusionXLPipeline, config: TrainConfig, folder: Path, *, size: Size, emit: Emit
) -> int:
    """Draw with the base itself what is missing of the class images; how many that were (none without `prior`)."""
    prior, seed = config.prior, config.runtime.seed
    if prior is None:
        return 0
    settings = DrawSettings(steps=prior.sample_steps, guidance=prior.guidance, size=size, text=config.text)

    def draw_these(indices: Sequence[int]) -> list[Image.Image]:
        requests = [
            DrawRequest(prior.class_prompt, rng.key(seed, "class_images", index) % 2**32, settings=settings)
            for index in indices
        ]
        return draw(pipeline, requests, batch_size=len(requests))

    return draw_missing_class_images(
        folder, prior.num_class_images, draw=draw_these, seed=seed, batch_size=prior.sample_batch_size, emit=emit
    )
