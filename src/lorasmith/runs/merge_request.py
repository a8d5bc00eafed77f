"""Owns what can be asked of a merge, and refuses what cannot be meant; opens and merges nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from lorasmith.data.wording import counted
from lorasmith.errors import ConfigError, Problem
from lorasmith.merging.into_base import (
    BasePrecision,
)
from lorasmith.merging.layerwise import LayerwiseSettings
from lorasmith.merging.zip_fit import ZipSettings
from lorasmith.runs.merge_sources import WeightedSource

MergeMethod = Literal["sum", "concat", "svd", "ties", "dare", "zip", "null-space"]
METHODS: Final[tuple[MergeMethod, ...]] = get_args(MergeMethod)


@dataclass(frozen=True)
class MergeRequest:
    """What to merge and how. With several `methods` each has a folder of its own in `output`."""

    sources: Sequence[WeightedSource]
    output: Path
    methods: tuple[MergeMethod, ...] = ("concat",)
    rank: int | None = None
    energy: float | None = None
    density: float = 0.5
    strength: float | None = 0.5
    """The null-space merge's μ; None means infinity."""
    protect: int | None = None
    """Which source the null-space merge protects, counted from 1; None means the last."""
    zip: ZipSettings = field(default_factory=ZipSettings)
    seed: int = 0
    words: tuple[str, ...] = ()
    instance_images: tuple[Path, ...] = ()
    base: str | None = None
    into_base: Path | None = None
    precision: BasePrecision = "fp32"
    bake_rank: int | None = None
    name: str | None = None
    device: str = "auto"
    report: Path | None = None
    prompts: tuple[str, ...] = ()
    """What the report's pictures show; None of them means what the words, or the world of the base, suggest."""
    pictures: int = 2
    """For each of the report's prompts."""
    drawing_steps: int = 20

    @property
    def has_several(self) -> bool:
        """Whether each method gets a folder of its own."""
        return len(self.methods) > 1

    @property
    def layerwise(self) -> LayerwiseSettings:
        """What the methods without training go by."""
        protected = -1 if self.protect is None else self.protect - 1
        return LayerwiseSettings(self.rank, self.energy, self.density, self.strength, protected, self.seed)


def check_request(request: MergeRequest) -> None:
    """Refuse values that nothing can be merged with, all in one report."""
    several = len(request.sources)
    protect = request.protect
    wrong = [
        (several < (1 if request.into_base else 2), f"{counted(several, 'adapter')} cannot be merged", "sources",
         "Name two or more; one alone can go into a base (--into-base)."),
        (not request.methods or len(set(request.methods)) != len(request.methods),
         f"the methods {', '.join(request.methods) or 'none'} are not some of {', '.join(METHODS)}, each once",
         "method", "Name one, or several to compare them."),
        (request.into_base is not None and len(request.methods) != 1, "one base cannot hold several merges",
         "into_base", "Name one method."),
        (request.rank is not None and request.rank < 1, f"the rank {request.rank} is too small", "rank",
         "Use 4 to 128."),
        (request.energy is not None and not 0 < request.energy <= 1,
         f"the energy {request.energy} is no share", "energy", "Use 0.9 to 0.999."),
        (not 0 < request.density <= 1, f"the density {request.density} is no share", "density", "Use 0.2 to 0.8."),
        (request.strength is not None and not (math.isfinite(request.strength) and request.strength >= 0),
         f"the strength {request.strength} is no positive number", "strength", "Use 0.5, or inf to protect all of it."),
        (protect is not None and not 1 <= protect <= several,
         f"there is no adapter number {protect}", "protect", f"Name one of 1 to {several}."),
        (len(request.instance_images) not in (0, several),
         f"{counted(len(request.instance_images), 'folder')} of pictures cannot belong to {several} adapters",
         "instance_images", "Name one folder for each adapter, in order."),
        (request.zip.steps < 1 or not 0 < request.zip.learning_rate <= 1 or request.zip.similarity_weight < 0,
         "mergers cannot train so", "zip", "Use 100 steps at a learning rate of 0.01."),
        (request.pictures < 1 or request.drawing_steps < 1, "no pictures were asked for", "pictures", "Use 2."),
        (_is_taken(request.output), f"{request.output} holds something already", "output", "Name a new folder."),
    ]  # fmt: skip
    problems = [Problem(what, where, remedy) for is_wrong, what, where, remedy in wrong if is_wrong]
    if problems:
        raise ConfigError.of(problems)


def _is_taken(folder: Path) -> bool:
    return folder.exists() and (not folder.is_dir() or any(folder.iterdir()))
