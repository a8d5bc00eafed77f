"""Owns what is merged: adapters with their weights and new tokens; refuses those that cannot share a base."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple

import torch

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.weights import ModuleAdapter, NewTokenRows, Part

Layers = Mapping[Part, Mapping[str, ModuleAdapter]]
"""Each part's adapters by module path (text encoders' with `text_model.`), every scale folded into `up`."""
PARTS: Final[tuple[Part, ...]] = ("denoiser", "text_encoder_1", "text_encoder_2")

_WRAPPING: Final = "text_model."
"""What some readers put before text encoders' paths and others leave out."""


@dataclass(frozen=True)
class Parent:
    """One adapter to be merged, and how strongly: what it changes counts `weight` times."""

    name: str
    layers: Layers
    weight: float = 1.0
    rows: NewTokenRows = field(default_factory=NewTokenRows)

    @property
    def is_dora(self) -> bool:
        """Whether any layer has magnitudes: what it changes then depends on the base."""
        return any(one.module.magnitude is not None for one in every_layer(self.layers))

    @property
    def weighted(self) -> "Layers":
        """What a plain LoRA adds to the base at its weight."""
        return mapped(self.layers, lambda layer: layer.module.scaled(self.weight))

    def with_layers(self, layers: Layers) -> "Parent":
        """The same parent with other layers."""
        return replace(self, layers=layers)


class Layer(NamedTuple):
    """One module's adapter and where it is."""

    part: Part
    path: str
    module: ModuleAdapter

    @property
    def name(self) -> str:
        """Part and path as one word."""
        return f"{self.part}.{self.path}"


def every_layer(layers: Layers) -> Iterator[Layer]:
    """All layers, part by part."""
    for part, modules in layers.items():
        yield from (Layer(part, path, module) for path, module in modules.items())


def mapped(layers: Layers, change: "Callable[[Layer], ModuleAdapter]") -> dict[Part, dict[str, ModuleAdapter]]:
    """The same places with other adapters."""
    return {
        part: {path: change(Layer(part, path, module)) for path, module in modules.items()}
        for part, modules in layers.items()
    }


def places_of(all_layers: Sequence[Layers]) -> dict[Part, list[str]]:
    """Every module that any of them has, in the order of the first that has it."""
    places: dict[Part, dict[str, None]] = {}
    for part in PARTS:
        for layers in all_layers:
            places.setdefault(part, {}).update(dict.fromkeys(layers.get(part, {})))
    return {part: list(paths) for part, paths in places.items() if paths}


def with_plain_paths(layers: Layers) -> dict[Part, dict[str, ModuleAdapter]]:
    """One spelling of module paths and fp32 numbers, whatever file the layers are from."""
    return {
        part: {
            path if part == "denoiser" else f"{_WRAPPING}{path.removeprefix(_WRAPPING)}": module.to(torch.float32)
            for path, module in modules.items()
        }
        for part, modules in layers.items()
        if modules
    }


def refuse_misfits(parents: Sequence[Parent]) -> None:
    """DataError when two parents' layers or new tokens are of different sizes, or numbers are not finite."""
    sizes: dict[str, tuple[str, tuple[int, int]]] = {}
    for parent in parents:
        for layer in every_layer(parent.layers):
            _refuse_broken(parent, layer)
            size = (len(layer.module.up), layer.module.down.shape[1])
            first, wanted = sizes.setdefault(layer.name, (parent.name, size))
            if size != wanted:
                raise _misfit(first, parent.name, f"{layer.name} is {_times(wanted)} in one and {_times(size)}")
    _refuse_other_widths(parents)


def _refuse_broken(parent: Parent, layer: Layer) -> None:
    module = layer.module
    if module.down.ndim != 2:
        raise DataError(
            f"{shown(parent.name)} changes the convolution {shown(layer.name)}, and merges are of linear layers",
            remedy="Merge adapters of attention and feed-forward layers.",
        )
    if module.up.ndim != 2 or module.up.shape[1] != module.rank:
        raise DataError(f"{shown(parent.name)} has no LoRA of one rank on {shown(layer.name)}", remedy="Use another.")
    if not all(bool(torch.isfinite(tensor).all()) for tensor in module.tensors()):
        raise DataError(
            f"{shown(parent.name)} holds numbers that are not finite in {shown(layer.name)}",
            remedy="Use another checkpoint of it.",
        )


def _refuse_other_widths(parents: Sequence[Parent]) -> None:
    """New tokens of one encoder are of one width."""
    widths: tuple[str, tuple[int, int]] | None = None
    for parent in parents:
        for concept in parent.rows.concepts:
            found = (concept.text_encoder_1.shape[1], concept.text_encoder_2.shape[1])
            widths = widths or (parent.name, found)
            if found != widths[1]:
                raise _misfit(
                    widths[0], parent.name, f"new tokens are {_times(widths[1])} wide in one and {_times(found)}"
                )


def _misfit(first: str, second: str, what: str) -> DataError:
    return DataError(
        f"{shown(first)} and {shown(second)} are not of one family of bases: {what} in the other",
        remedy="Merge adapters that were trained on the same base, or on bases of the same layout.",
    )


def _times(size: tuple[int, int]) -> str:
    return f"{size[0]}×{size[1]}"
