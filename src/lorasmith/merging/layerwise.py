# peft is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns the ways of merging that look at one layer at a time and need no base; reads and writes no files."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

import torch
from peft.utils.merge_utils import dare_linear, ties
from torch import Tensor

from lorasmith import rng
from lorasmith.errors import DataError
from lorasmith.formats.changes import ResizedModule, resized
from lorasmith.formats.weights import BakingLoss, ModuleAdapter, Part
from lorasmith.merging.factors import Cut, compact, cut_dense, stacked
from lorasmith.merging.null_space import kept_out_of
from lorasmith.merging.parents import Layers, Parent, places_of

LayerwiseMethod = Literal["sum", "concat", "svd", "ties", "dare", "null-space"]


@dataclass(frozen=True)
class LayerwiseSettings:
    """How layers are merged. `rank` and `energy` are of methods whose result has no small rank of its own.

    `density` is the share of numbers that TIES and DARE keep, `strength` the null-space merge's μ (None: infinity),
    `protected` the place of the parent that it protects.
    """

    rank: int | None = None
    energy: float | None = None
    density: float = 0.5
    strength: float | None = 0.5
    protected: int = -1
    seed: int = 0


@dataclass(frozen=True)
class Merged:
    """The layers of a merge, and by layer what writing them in a small rank lost; nothing lost is not named."""

    layers: Layers
    losses: Mapping[str, BakingLoss] = field(default_factory=dict[str, BakingLoss])


def merge_layers(parents: Sequence[Parent], method: LayerwiseMethod, settings: LayerwiseSettings) -> Merged:
    """Merge plain LoRAs layer by layer; a module that a parent lacks is left unchanged by it."""
    layers: dict[Part, dict[str, ModuleAdapter]] = {}
    losses: dict[str, BakingLoss] = {}
    protected = range(len(parents))[settings.protected]
    for part, paths in places_of([parent.layers for parent in parents]).items():
        for path in paths:
            site = _Site(f"{part}.{path}", _shares(parents, part, path), settings, protected)
            made = site.merged(method)
            layers.setdefault(part, {})[path] = made.adapter
            if made.loss.lost:
                losses[site.name] = made.loss
    return Merged(layers, losses)


@dataclass(frozen=True)
class _Share:
    """What one parent does in a module, as it is and with its weight."""

    place: int
    module: ModuleAdapter
    weight: float

    @property
    def weighted(self) -> ModuleAdapter:
        return self.module.scaled(self.weight)


def _shares(parents: Sequence[Parent], part: Part, path: str) -> list[_Share]:
    """The parents that have the module; DataError for a DoRA, whose magnitudes no weight reaches."""
    found = [(place, parent, parent.layers.get(part, {}).get(path)) for place, parent in enumerate(parents)]
    for _, parent, module in found:
        if module is not None and module.magnitude is not None:
            raise DataError(f"{parent.name} is a DoRA and was not baked", remedy="Bake it on its base first.")
    return [_Share(place, module, parent.weight) for place, parent, module in found if module is not None]


@dataclass(frozen=True)
class _Site:
    """One module and the parents that change it."""

    name: str
    shares: Sequence[_Share]
    settings: LayerwiseSettings
    protected: int

    def merged(self, method: LayerwiseMethod) -> ResizedModule:
        weighted = [share.weighted for share in self.shares]
        match method:
            case "concat":
                return _whole(stacked(weighted))
            case "sum":
                return _whole(compact(stacked(weighted)))
            case "svd":
                ranks = [module.rank for module in weighted]
                how = self._cut(max(ranks) if self.settings.energy is None else sum(ranks))
                return resized(stacked(weighted), rank=how.rank, energy=how.energy)
            case "ties" | "dare":
                return cut_dense(self._mixed(method), self._cut(sum(module.rank for module in weighted)))
            case "null-space":
                return _whole(stacked(self._around_the_protected()))
            case _:
                assert_never(method)

    def _cut(self, usual_rank: int) -> Cut:
        return Cut(self.settings.rank or usual_rank, self.settings.energy)

    def _mixed(self, method: Literal["ties", "dare"]) -> Tensor:
        """Dense [out, in], by peft's own functions: TIES elects signs among changes without their weights."""
        changes = [share.module.change() for share in self.shares]
        weights = torch.tensor([share.weight for share in self.shares])
        with rng.scoped_seed(self.settings.seed, "merge", self.name), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The density")  # peft: 1 prunes nothing, as it should
            mix = ties if method == "ties" else dare_linear
            return mix(changes, weights, self.settings.density)

    def _around_the_protected(self) -> list[ModuleAdapter]:
        protected = [share.weighted for share in self.shares if share.place == self.protected]
        others = [share.weighted for share in self.shares if share.place != self.protected]
        strength = self.settings.strength
        if not protected:
            return others
        return [*(kept_out_of(one, protected[0], strength=strength) for one in others), *protected]


def _whole(module: ModuleAdapter) -> ResizedModule:
    """A module that lost nothing."""
    return ResizedModule(module, BakingLoss(0.0, 0.0))
