"""Owns what can be asked of `lorasmith generate`; refuses what cannot be drawn, all in one report."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lorasmith.config.text import LongPrompts, TextConfig
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, Problem
from lorasmith.export_manifest import ExportManifest
from lorasmith.inference.additions import Strength
from lorasmith.inference.samplers import find_sampler
from lorasmith.sizes import Size

PromptSyntax = Literal["a1111", "plain"]
_MOST_PICTURES = 2000
_LONGEST_PROMPT = 200_000
_WITH_STRENGTH = re.compile(r"(.+?):([+-]?[\d.]+)(?::([+-]?[\d.]+))?")


@dataclass(frozen=True)
class GenerateRequest:
    """What to draw: every prompt × seed × scale × checkpoint. None means the export's or the base's own value.

    `source` is a run folder, an export folder or a LoRA file; without one the base draws, with the LoRAs that `lora`
    and the prompts name. `lora` has entries `FILE`, `FILE:0.8` or `FILE:0.8:0.5` (text encoders, denoiser: A1111's
    order).
    """

    source: Path | None
    prompt: str
    negative_prompt: str = ""
    more_prompts: tuple[str, ...] = ()
    count: int = 4
    seed: int | tuple[int, ...] = 0
    scale: float | tuple[float, ...] | None = None
    checkpoint: tuple[str, ...] = ()
    """Steps of checkpoints of the run to draw with, `final` for its export, `all` for all there are."""
    steps: int = 25
    guidance: float = 5.0
    sampler: str | None = None
    schedule: str | None = None
    size: Size | None = None
    side_by_side: bool = True
    out: Path | None = None
    base: str | None = None
    device: str = "auto"
    batch_size: int | None = None
    clip_skip: int | None = None
    long_prompts: LongPrompts | None = None
    prompt_syntax: PromptSyntax = "a1111"
    lora: tuple[str, ...] = ()
    embedding: tuple[Path, ...] = ()
    lora_folder: tuple[Path, ...] = ()
    embedding_folder: tuple[Path, ...] = ()
    program: Path | None = None
    """The folder of A1111, Forge or ComfyUI: its LoRAs and embeddings are found by name."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """All prompts."""
        return (self.prompt, *self.more_prompts)

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds as they were listed; of a single one `count` in a row."""
        seeds = (self.seed,) if isinstance(self.seed, int) else self.seed
        return tuple(range(seeds[0], seeds[0] + self.count)) if len(seeds) == 1 else seeds

    @property
    def scales(self) -> tuple[float | None, ...]:
        """The scales, None standing for the export's own."""
        return self.scale if isinstance(self.scale, tuple) else (self.scale,)

    def reading(self, manifest: ExportManifest | None) -> TextConfig:
        """How prompts are read: as asked, else as in training, else whole."""
        if manifest is None:
            return TextConfig(clip_skip=self.clip_skip or 0, long_prompts=self.long_prompts or "chunks")
        skip = manifest.clip_skip if self.clip_skip is None else self.clip_skip
        return TextConfig(clip_skip=skip, long_prompts=self.long_prompts or manifest.long_prompts)

    def lora_files(self) -> dict[Path, Strength]:
        """The files of `lora` with their strengths. ConfigError for a strength that is no small number."""
        return dict(_file_with_strength(entry) for entry in self.lora)


def check_request(request: GenerateRequest) -> None:
    """Refuse values that cannot be drawn with, all in one report."""
    find_sampler(request.sampler or "Euler", request.schedule)
    request.lora_files()
    problems = [Problem(what, where, remedy) for is_wrong, what, where, remedy in _rules(request) if is_wrong]
    if problems:
        raise ConfigError.of(problems)


def _rules(request: GenerateRequest) -> Sequence[tuple[bool, str, str, str]]:
    """Whether a rule is broken, what is wrong then, where, and what to do."""
    longest = max(map(len, (*request.prompts, request.negative_prompt)))
    pictures = math.prod(map(len, (request.prompts, request.seeds, request.scales))) * max(1, len(request.checkpoint))
    scales = [scale for scale in request.scales if scale is not None]
    seeds = (request.seed,) if isinstance(request.seed, int) else request.seed
    return [
        (
            any(not prompt.strip() for prompt in request.prompts),
            "the prompt is empty", "prompt", "Say what to draw, such as `a photo of TOK`.",
        ),
        (longest > _LONGEST_PROMPT, f"a prompt has {longest} letters", "prompt", "Say it in a few sentences."),
        (request.count < 1, f"{request.count} pictures were asked for", "count", "Ask for one or more."),
        (pictures > _MOST_PICTURES, f"that makes {pictures} pictures", "count", f"Ask for {_MOST_PICTURES} at most."),
        (request.steps < 1, f"{request.steps} sampling steps draw nothing", "steps", "Use 20 to 50."),
        (
            request.batch_size is not None and request.batch_size < 1,
            f"{request.batch_size} pictures at once draw nothing", "batch_size", "Use 1 or more.",
        ),
        (
            request.clip_skip is not None and not 0 <= request.clip_skip <= 30,
            f"the clip skip {request.clip_skip} is out of bounds", "clip_skip", "Leave it out for the export's own.",
        ),
        (
            not seeds or not all(0 <= seed < 2**63 for seed in seeds),
            f"the seed {min(seeds, default='none')} is not between 0 and 2^63", "seed", "Use 0 or more.",
        ),
        (len(set(seeds)) != len(seeds), "a seed is named twice", "seed", "Name each once."),
        (len(set(request.scales)) != len(request.scales), "a scale is named twice", "scale", "Name each once."),
        (
            not (math.isfinite(request.guidance) and request.guidance >= 0),
            f"the guidance {request.guidance} is not a positive number", "guidance", "Use 3 to 8.",
        ),
        (
            not all(math.isfinite(scale) and abs(scale) <= 4 for scale in scales),
            f"the scale {', '.join(map(str, scales))} is out of bounds", "scale", "Use about 0.5 to 1.2.",
        ),
        (
            request.size is not None and any(side % 8 or not 8 <= side <= 4096 for side in request.size),
            f"the size {request.size} is not made of multiples of 8 up to 4096", "size",
            "Use the base's own size, or near it.",
        ),
        (
            bool(request.checkpoint) and request.source is None,
            "checkpoints are a run's, and no run was named", "checkpoint", "Name the run's folder.",
        ),
    ]  # fmt: skip


def _file_with_strength(entry: str) -> tuple[Path, Strength]:
    """`FILE`, `FILE:strength` or `FILE:text encoders:denoiser`; a file that has such a name is itself meant."""
    match = _WITH_STRENGTH.fullmatch(entry)
    if match is None or Path(entry).is_file():
        return Path(entry), Strength()
    try:
        text_encoders = float(match[2])
        denoiser = float(match[3]) if match[3] else text_encoders
    except ValueError:
        raise ConfigError(
            f"{shown(entry)} does not end in a strength", where="lora", remedy="Write FILE:0.8."
        ) from None
    if max(abs(text_encoders), abs(denoiser)) > 10:
        raise ConfigError(f"the strength of {shown(entry)} is out of bounds", where="lora", remedy="Use 0.5 to 1.2.")
    return Path(match[1]), Strength(denoiser, text_encoders)
