# torch's modules are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns several adapters on one frozen denoiser at once, and ZipLoRA's merger vectors on them; trains nothing.

ZipLoRA (arXiv 2311.13600, section 4): ΔW = Σᵢ ΔWᵢ·diag(mᵢ), one number in mᵢ for each column of ΔWᵢ. Because ΔWᵢ is
upᵢ·downᵢ, the merge is upᵢ·(downᵢ·diag(mᵢ)), stacked: an ordinary LoRA of rank r₁ + r₂, and no dense matrix is made.
"""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorasmith.errors import DataError
from lorasmith.formats.weights import ModuleAdapter
from lorasmith.merging.factors import stacked

Voice = int | Literal["base", "merged"]
"""Whose prediction is asked for: one adapter's by its place, the base's own, or the merge's."""


@dataclass
class _Switch:
    """Which voice all layers speak with."""

    voice: Voice = "base"


class ZippedLinear(nn.Module):
    """A frozen linear layer with several adapters, of which one or the merge is heard. Only `mergers` train."""

    def __init__(self, linear: nn.Linear, adapters: Sequence[ModuleAdapter | None], switch: _Switch) -> None:
        super().__init__()
        self.linear = linear
        self.switch = switch
        self.places = [place for place, one in enumerate(adapters) if one is not None]
        there = [one for one in adapters if one is not None]
        device = linear.weight.device
        self.downs = [one.down.to(device, torch.float32) for one in there]
        self.ups = [one.up.to(device, torch.float32) for one in there]
        self.mergers = nn.Parameter(torch.ones(len(there), linear.in_features, device=device))

    @property
    def weight(self) -> Tensor:
        """The frozen weight, for code that asks a layer for its dtype."""
        return self.linear.weight

    def forward(self, inputs: Tensor) -> Tensor:
        """Inputs [..., in] to outputs [..., out] in the voice that is set."""
        outputs = self.linear(inputs)
        voice = self.switch.voice
        heard = [number for number, place in enumerate(self.places) if voice in ("merged", place)]
        for number in heard:
            given = inputs.float() * self.mergers[number] if voice == "merged" else inputs.float()
            change = functional.linear(functional.linear(given, self.downs[number]), self.ups[number])
            outputs = outputs + change.to(outputs.dtype)
        return outputs

    def similarity(self) -> Tensor:
        """Σ over pairs of adapters of the mean of |mᵢ·mⱼ| over columns; 0 where one adapter is alone."""
        pairs = list(combinations(range(len(self.places)), 2))
        if not pairs:
            return self.mergers.new_zeros(())
        return torch.stack([(self.mergers[one] * self.mergers[other]).abs().mean() for one, other in pairs]).sum()

    def merged(self) -> ModuleAdapter:
        """The merge as an ordinary adapter, each `down` with its columns at the mergers' strength."""
        mergers = self.mergers.detach()
        bent = [
            ModuleAdapter((down * mergers[number]).cpu(), self.ups[number].cpu())
            for number, down in enumerate(self.downs)
        ]
        return stacked(bent)


class ZippedDenoiser:
    """Adapters of several parents on a denoiser; take them off again with `detach`."""

    def __init__(self, denoiser: nn.Module, adapters: Sequence[Mapping[str, ModuleAdapter]]) -> None:
        """DataError when an adapter is of a layer that the denoiser does not have, or of another size."""
        self._denoiser = denoiser
        self._switch = _Switch()
        self.layers: dict[str, ZippedLinear] = {}
        paths = dict.fromkeys(path for one in adapters for path in one)
        linears = {path: _linear(denoiser, path) for path in paths}
        for path, linear in linears.items():
            found = [one.get(path) for one in adapters]
            _refuse_other_sizes(path, linear, found)
            self.layers[path] = ZippedLinear(linear, found, self._switch)
            denoiser.set_submodule(path, self.layers[path])

    @property
    def mergers(self) -> list[nn.Parameter]:
        """All that trains: in each layer a vector [in] for each adapter there."""
        return [layer.mergers for layer in self.layers.values()]

    @contextmanager
    def speaking(self, voice: Voice) -> Generator[None]:
        """The denoiser with one adapter, with the merge, or as it was, inside the block."""
        before, self._switch.voice = self._switch.voice, voice
        try:
            yield
        finally:
            self._switch.voice = before

    def similarity(self) -> Tensor:
        """The similarity of mergers over all layers, which ZipLoRA's λ stands before."""
        return torch.stack([layer.similarity() for layer in self.layers.values()]).sum()

    def merged(self) -> dict[str, ModuleAdapter]:
        """The merge as ordinary adapters by path."""
        return {path: layer.merged() for path, layer in self.layers.items()}

    def detach(self) -> None:
        """Put the denoiser's own layers back."""
        for path, layer in self.layers.items():
            self._denoiser.set_submodule(path, layer.linear)


def _linear(denoiser: nn.Module, path: str) -> nn.Linear:
    try:
        found = denoiser.get_submodule(path)
    except AttributeError:
        found = None
    if not isinstance(found, nn.Linear):
        raise _misfit(f"it has no linear layer {path}")
    return found


def _refuse_other_sizes(path: str, linear: nn.Linear, adapters: Sequence[ModuleAdapter | None]) -> None:
    wanted = (linear.out_features, linear.in_features)
    for one in adapters:
        if one is not None and (found := (len(one.up), one.down.shape[1])) != wanted:
            raise _misfit(f"its {path} is {wanted[0]}×{wanted[1]} and the adapter's {found[0]}×{found[1]}")


def _misfit(what: str) -> DataError:
    return DataError(
        f"the base is of another layout than the adapters: {what}",
        remedy="Name the base they were trained on (--base).",
    )
