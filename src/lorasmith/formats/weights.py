"""Owns what is exported, as plain tensors: each part's adapter and the new tokens' rows; knows no file format."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

from lorasmith.adapters.shape import AdapterKind, is_inside
from lorasmith.errors import DataError, DivergedError

Part = Literal["denoiser", "text_encoder_1", "text_encoder_2"]
MagnitudeAxis = Literal["output", "input"]


@dataclass(frozen=True)
class ModuleAdapter:
    """One module's adapter: `down` [rank, in], `up` [out, rank] and, for DoRA, `magnitude`; fp32 on the CPU.

    A convolution's `down` is [rank, in, height, width]. A magnitude is one number for each output, [out], as peft has
    it, or for each input, [in], as LyCORIS has it by default.
    """

    down: Tensor
    up: Tensor
    magnitude: Tensor | None = None
    magnitude_axis: MagnitudeAxis = "output"

    @property
    def rank(self) -> int:
        """Rows of `down`."""
        return len(self.down)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight that it changes: [out, in], or [out, in, height, width] of a convolution."""
        return (len(self.up), *self.down.shape[1:])

    def scaled(self, scale: float) -> "ModuleAdapter":
        """The same adapter with its scale folded into `up`; a magnitude is of the merged weight and stays."""
        return self if scale == 1 else replace(self, up=self.up * scale)

    def change(self) -> Tensor:
        """What is added to the module's weight (DoRA then brings each row or column to its magnitude)."""
        return (self.up.float() @ self.down.float().flatten(1)).reshape(self.shape)

    def to(self, dtype: torch.dtype) -> "ModuleAdapter":
        """The same in another precision."""
        magnitude = None if self.magnitude is None else self.magnitude.to(dtype)
        return replace(self, down=self.down.to(dtype), up=self.up.to(dtype), magnitude=magnitude)

    def tensors(self) -> tuple[Tensor, ...]:
        """All tensors there are."""
        return (self.down, self.up) if self.magnitude is None else (self.down, self.up, self.magnitude)


@dataclass(frozen=True)
class PartAdapter:
    """One part's adapter by module path, as diffusers names modules inside the part; its effect is alpha ÷ rank.

    `rank` and `alpha` are the usual ones. A module of another rank has the alpha that gives the same scale.
    """

    modules: Mapping[str, ModuleAdapter]
    rank: int
    alpha: float
    kind: AdapterKind = "lora"

    @property
    def scale(self) -> float:
        """alpha ÷ rank, the same in every module."""
        return self.alpha / self.rank

    def alpha_of(self, module: ModuleAdapter) -> float:
        """A module's own alpha."""
        return self.alpha if module.rank == self.rank else self.alpha * module.rank / self.rank

    def inside(self, block: str) -> "PartAdapter":
        """The modules of one block alone."""
        modules = {path: module for path, module in self.modules.items() if is_inside(path, block)}
        return PartAdapter(modules, self.rank, self.alpha, self.kind)


@dataclass(frozen=True)
class BakingLoss:
    """Frobenius norms of what a module changes in its weight, and of what of that is lost."""

    change: float
    lost: float

    @property
    def share(self) -> float:
        """What is lost as a share of the change."""
        return self.lost / self.change if self.change else 0.0


@dataclass(frozen=True)
class BakedAdapters:
    """The same adapters as plain LoRA, for readers that know no DoRA, and how far each module is off.

    `losses` are by part and path. Modules that hardly changed can be far off by their share and say nothing;
    `total_error` counts each by its size.
    """

    parts: Mapping[Part, PartAdapter]
    losses: Mapping[str, BakingLoss]

    @property
    def errors(self) -> dict[str, float]:
        """Each module's share."""
        return {name: loss.share for name, loss in self.losses.items()}

    @property
    def total_error(self) -> float:
        """What is lost of all changes together, as a share of them."""
        changed, lost = (math.hypot(*norms) for norms in zip(*map(astuple, self.losses.values()), strict=True))
        return BakingLoss(changed, lost).share

    @property
    def mean_error(self) -> float:
        """The mean of the shares."""
        return sum(self.errors.values()) / max(1, len(self.losses))

    @property
    def worst(self) -> tuple[str, float]:
        """The module that is furthest off, and how far."""
        return max(self.errors.items(), key=lambda pair: pair[1])

    def inside(self, block: str) -> "BakedAdapters":
        """The modules of one block of the denoiser alone."""
        losses = {name: loss for name, loss in self.losses.items() if is_inside(name, f"denoiser.{block}")}
        return BakedAdapters({"denoiser": self.parts["denoiser"].inside(block)}, losses)


@dataclass(frozen=True)
class AdapterWeights:
    """The adapters of all parts that have one.

    `layers_per_block` is the denoiser's (2 in SDXL): kohya's names count ResNets, so they depend on it.
    `roles` names blocks of the denoiser that are exported alone as well, such as B-LoRA's content and style.
    """

    parts: Mapping[Part, PartAdapter]
    layers_per_block: int = 2
    baked: BakedAdapters | None = None
    roles: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def kind(self) -> AdapterKind:
        """DoRA when any part is one."""
        return "dora" if any(adapter.kind == "dora" for adapter in self.parts.values()) else "lora"

    def inside(self, block: str) -> "AdapterWeights":
        """One block of the denoiser alone."""
        baked = self.baked.inside(block) if self.baked else None
        return AdapterWeights({"denoiser": self.parts["denoiser"].inside(block)}, self.layers_per_block, baked)

    def as_baked(self) -> "AdapterWeights | None":
        """The plain LoRA in place of the DoRA, where it was baked."""
        return None if self.baked is None else AdapterWeights(self.baked.parts, self.layers_per_block)

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with a name to show."""
        for part, adapter in self.parts.items():
            for path, module in adapter.modules.items():
                yield from ((f"{part}.{path}", tensor) for tensor in module.tensors())


@dataclass(frozen=True)
class ConceptRows:
    """The new tokens of one token abstraction: a row each for `text_encoder_1` [n, d1] and `text_encoder_2` [n, d2]."""

    abstraction: str
    tokens: tuple[str, ...]
    text_encoder_1: Tensor
    text_encoder_2: Tensor
    look_alike: str = ""
    """Words the base knows, which stood behind the new tokens in training."""


@dataclass(frozen=True)
class NewTokenRows:
    """The new-token embeddings of all concepts, in the order of their tokens' numbers."""

    concepts: tuple[ConceptRows, ...] = ()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor with a name to show."""
        for concept in self.concepts:
            yield f"new tokens of {concept.abstraction} in text_encoder_1", concept.text_encoder_1
            yield f"new tokens of {concept.abstraction} in text_encoder_2", concept.text_encoder_2


def up_tensor(module: ModuleAdapter) -> Tensor:
    """`up` as files have it: [out, rank], and [out, rank, 1, 1] of a convolution."""
    return module.up if module.down.ndim == 2 else module.up[:, :, None, None]


def magnitude_tensor(module: ModuleAdapter, magnitude: Tensor) -> Tensor:
    """A magnitude as kohya's and LyCORIS' files have it: [out, 1] or [1, in], with two more ones of a convolution."""
    ends = (1,) * (module.down.ndim - 2)
    return magnitude.reshape((-1, 1, *ends) if module.magnitude_axis == "output" else (1, -1, *ends))


def refuse_unexportable(weights: AdapterWeights, rows: NewTokenRows) -> None:
    """DataError when nothing is there or shapes disagree, DivergedError when a number is not finite."""
    if not rows.concepts and not any(adapter.modules for adapter in weights.parts.values()):
        raise DataError("There is nothing to export: no adapter and no new tokens.", remedy="Train something first.")
    for name, tensor in (*weights.tensors(), *rows.tensors()):
        if not torch.isfinite(tensor).all():
            raise DivergedError(
                f"The weights of {name} hold numbers that are not finite.",
                remedy="Go on from an earlier checkpoint with a lower rate; nothing was written.",
            )
    for part, adapter in weights.parts.items():
        for path, module in adapter.modules.items():
            _check_shapes(f"{part}.{path}", module, adapter)
    for concept in rows.concepts:
        if len({len(concept.tokens), len(concept.text_encoder_1), len(concept.text_encoder_2)}) != 1:
            raise DataError(f"{concept.abstraction} has {len(concept.tokens)} new tokens but another count of rows.")


def _check_shapes(name: str, module: ModuleAdapter, adapter: PartAdapter) -> None:
    """Linear layers and convolutions of one rank each, with magnitudes in DoRA and nowhere else."""
    if module.down.ndim not in (2, 4) or module.up.ndim != 2 or module.rank != module.up.shape[1]:
        shapes = f"{tuple(module.down.shape)} and {tuple(module.up.shape)}"
        raise DataError(f"The adapter of {name} is {shapes}, which is not one of one rank on a linear layer.")
    length = len(module.up) if module.magnitude_axis == "output" else module.down.shape[1]
    wanted = (length,) if adapter.kind == "dora" else None
    if (None if module.magnitude is None else tuple(module.magnitude.shape)) != wanted:
        raise DataError(f"The adapter of {name} is called {adapter.kind}, and its magnitudes do not agree with that.")
