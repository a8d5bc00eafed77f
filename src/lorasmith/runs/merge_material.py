"""Owns what mergers train on and merges are measured with: parents' pictures and prompts on an open base."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from lorasmith.config.train import TrainConfig
from lorasmith.data.cache import Rendering
from lorasmith.data.examples import Example, Role
from lorasmith.data.order import fixed_draws
from lorasmith.data.pictures import Pictures
from lorasmith.data.read import read_examples
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError
from lorasmith.events import ignore
from lorasmith.formats.weights import Part
from lorasmith.merging.into_base import networks_of
from lorasmith.merging.on_base import with_layers
from lorasmith.merging.parents import Layers, Parent
from lorasmith.merging.words import Renamed
from lorasmith.merging.zip_fit import ParentMaterial
from lorasmith.models.family import PromptEmbeddings
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs.merge_sources import OpenedParent
from lorasmith.runs.pictures import instance_images
from lorasmith.runs.stored_config import read_config
from lorasmith.sizes import Size
from lorasmith.tokens.vocabulary import TokenVocabulary

_MOST_PICTURES = 32
_PIXEL_LIMIT = 64_000_000


@dataclass(frozen=True)
class Pictured:
    """A parent as it goes into the merge, its words there, and the pictures it was trained on."""

    parent: Parent
    renamed: Renamed
    examples: tuple[Example, ...]
    background: str = "white"


def pictures_of(opened: OpenedParent, folder: Path | None) -> tuple[Example, ...]:
    """A parent's instance images: those of a folder that was named, else of its run; none where neither is there."""
    if folder is not None:
        reading = read_examples(
            folder, prompt="", caption_column=None, role=Role.INSTANCE, pixel_limit=_PIXEL_LIMIT, background="white"
        )
        return reading.examples[:_MOST_PICTURES]
    config = _config_of(opened)
    return instance_images(config, ignore)[:_MOST_PICTURES] if config else ()


def refuse_without_pictures(pictured: Sequence[Pictured]) -> None:
    """ConfigError naming the parents whose pictures nobody knows."""
    missing = [one.parent.name for one in pictured if not one.examples]
    if missing:
        raise ConfigError(
            f"the instance images of {' and '.join(map(shown, missing))} are not known, and mergers train on them",
            where="instance_images",
            remedy="Name the run folder in place of the file, or a folder of pictures with captions for each, in order "
            "(--instance-images).",
        )


def material_of(
    family: Sdxl, pictured: Sequence[Pictured], vocabulary: TokenVocabulary, merged: Layers, *, size: Size
) -> tuple[ParentMaterial, ...]:
    """Pictures as latents and prompts as embeddings. Text encoders speak with a parent's own adapters, or the merge's.

    `vocabulary` is of the merge, whose new tokens the family has already.
    """
    return tuple(_material(family, one, vocabulary, merged, size) for one in pictured)


def _material(family: Sdxl, one: Pictured, vocabulary: TokenVocabulary, merged: Layers, size: Size) -> ParentMaterial:
    draws = fixed_draws(one.examples, (size,))
    pictures = Pictures(Rendering("lanczos", one.background), pixel_limit=_PIXEL_LIMIT)
    latents = torch.cat([family.encode_pictures(pictures.pixels(draw)[None]).mean.cpu() for draw in draws])
    prompts = [vocabulary.expand(one.renamed.in_new_words(draw.example.caption)) for draw in draws]
    return ParentMaterial(
        name=one.parent.name,
        latents=latents,
        sizes=[draw.view.size_conditioning for draw in draws],
        own_prompts=_read(family, prompts, one.parent.weighted),
        merged_prompts=_read(family, prompts, merged),
    )


def _read(family: Sdxl, prompts: Sequence[str], layers: Layers) -> list[PromptEmbeddings]:
    """Prompts as text encoders read them with adapters in place."""
    encoders: tuple[Part, ...] = ("text_encoder_1", "text_encoder_2")
    on_text: Layers = {part: layers[part] for part in encoders if layers.get(part)}
    with torch.no_grad(), with_layers(networks_of(family.components), on_text) if on_text else nullcontext():
        return [family.encode_prompts([prompt]).detached() for prompt in prompts]


def _config_of(opened: OpenedParent) -> TrainConfig | None:
    run = opened.run
    if run is None or not run.config_file.is_file():
        return None
    return read_config(run)
