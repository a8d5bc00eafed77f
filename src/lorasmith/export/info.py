"""Owns what is said about an export, as words and numbers: what goes to headers and the model card. Holds no paths."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lorasmith.config.text import TextConfig
from lorasmith.export.weights import NewTokenRows
from lorasmith.models.family import PredictionType
from lorasmith.sizes import Size
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True)
class MergedParent:
    """One of the adapters that an export was merged from: its name, its weight and the sha256 of its file."""

    name: str
    weight: float
    sha256: str
    words: tuple[str, ...] = ()
    """Its token abstractions, as prompts for the merge say them."""


@dataclass(frozen=True)
class ExportInfo:
    """What was trained and how. Two equal runs say equal things: no times, no machine, no folders.

    `base` is a hub id, `embedded`, or the name of a local folder or single file. `captions` and `instance_prompt` are
    as users wrote them (with the token abstraction). `rates` are learning rates by part, `settings` anything else.
    """

    name: str
    base: str
    prediction_type: PredictionType
    resolution: Size
    steps: int
    instance_prompt: str = ""
    captions: tuple[str, ...] = ()
    pictures: int = 0
    class_images: int = 0
    pivot_step: int | None = None
    optimizer: str = ""
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    batch_size: int = 1
    accumulation: int = 1
    seed: int | None = None
    settings: Mapping[str, str | int | float] = field(default_factory=dict[str, str | int | float])
    revision: str | None = None
    license: str | None = None
    """Licence of the base as the hub spells it; None means: read off the base's name."""
    recommended_scale: float = 0.8
    """Adapter scale that the snippets name."""
    scheduler_settings: Mapping[str, str | bool] = field(default_factory=dict[str, str | bool])
    """What diffusers' scheduler has to be told of a base in a single file, whose markers diffusers does not read."""
    text: TextConfig = field(default_factory=TextConfig)
    """How prompts were read."""
    merged_by: str = ""
    """The method that merged others into this; empty for what was trained."""
    parents: tuple[MergedParent, ...] = ()
    """What it was merged from."""

    @property
    def hub_base(self) -> str | None:
        """The base if it is a hub id, which other programs can open."""
        return self.base if _HUB_ID.fullmatch(self.base) else None

    @property
    def is_single_file(self) -> bool:
        """Whether the base is one file, which other programs open by another function."""
        return self.base.lower().endswith(".safetensors")

    @property
    def base_name(self) -> str:
        """The base in words that name no folder of this machine."""
        return self.hub_base or re.split(r"[/\\]", self.base.rstrip("/\\"))[-1] or "unknown"


@dataclass(frozen=True)
class CardPicture:
    """A picture for the model card, and the prompt it was drawn with (token abstraction and all)."""

    path: Path
    prompt: str


def vocabulary_of(rows: NewTokenRows) -> TokenVocabulary:
    """The concepts' words and new tokens, for writing prompts out."""
    return TokenVocabulary(
        tuple(TokenAbstraction(one.abstraction, one.tokens, one.look_alike) for one in rows.concepts)
    )
