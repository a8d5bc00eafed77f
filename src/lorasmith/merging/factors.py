# torch.linalg is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns the algebra of low-rank changes up · down: stacked, in their smallest form, cut to a rank; knows no files."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorasmith.export.bake import decomposed
from lorasmith.formats.changes import ResizedModule
from lorasmith.formats.weights import BakingLoss, ModuleAdapter

_ROUNDING, _CANCELLED = 1e-7, 1e-9
"""Directions below a share of the largest are fp32's rounding; below a share of the factors' norms, what is left where
two adapters take each other away. Neither is part of a change."""


@dataclass(frozen=True)
class Cut:
    """How much of a change is kept: at most `rank` directions, and of those as many as hold `energy` of it.

    Energy is the share of the squared Frobenius norm, 0 to 1; None keeps all that the rank allows.
    """

    rank: int
    energy: float | None = None


@dataclass(frozen=True)
class _Directions:
    """A singular value decomposition: left [out, r], values [r] from the largest down, right [r, in].

    Values up to `floor` are rounding.
    """

    left: Tensor
    values: Tensor
    right: Tensor
    floor: float = 0.0

    @property
    def real(self) -> int:
        """How many directions are more than rounding."""
        return int((self.values > max(self.floor, _ROUNDING * self.values[0].item())).sum())

    def first(self, count: int) -> ModuleAdapter:
        """The first directions, each value shared evenly between `up` and `down`."""
        root = self.values[:count].sqrt()
        up, down = self.left[:, :count] * root, root.unsqueeze(1) * self.right[:count]
        return ModuleAdapter(down.float().contiguous(), up.float().contiguous())


def stacked(modules: Sequence[ModuleAdapter]) -> ModuleAdapter:
    """The sum of changes, exactly: Σ upᵢ·downᵢ = [up₁ up₂ …]·[down₁; down₂; …], of rank r₁ + r₂ + …"""
    if len(modules) == 1:
        return modules[0]
    return ModuleAdapter(torch.cat([one.down for one in modules]), torch.cat([one.up for one in modules], dim=1))


def compact(module: ModuleAdapter) -> ModuleAdapter:
    """The same change in the smallest rank that holds it (at least 1); a smaller rank is not made up.

    An adapter that is in its smallest form already comes back as it is.
    """
    directions = _decomposed_factors(module)
    needed = max(1, directions.real)
    return module if needed == module.rank else directions.first(needed)


def cut_dense(change: Tensor, how: Cut) -> ResizedModule:
    """The closest change of a small rank to one [out, in] that is no product of factors (Eckart–Young)."""
    left, values, right = decomposed(change, min(how.rank, *change.shape))
    directions, squares = _Directions(left, values, right), values.double().square()
    whole = change.double().square().sum().item()
    kept = min(how.rank, max(1, directions.real), _holding(squares, whole, how.energy))
    lost = max(0.0, whole - squares[:kept].sum().item())
    return ResizedModule(directions.first(kept), BakingLoss(whole**0.5, lost**0.5))


def row_space(module: ModuleAdapter) -> Tensor:
    """An orthonormal basis [in, k] of the inputs that a change answers to, in fp64; k is 0 for no change."""
    directions = _decomposed_factors(module)
    return directions.right[: directions.real].T


def undivided(change: Tensor) -> ModuleAdapter:
    """A dense change [out, in] as an adapter of full rank, without any loss: one of its factors is the identity."""
    rows, columns = change.shape
    if rows <= columns:
        return ModuleAdapter(change, torch.eye(rows, dtype=change.dtype))
    return ModuleAdapter(torch.eye(columns, dtype=change.dtype), change)


def _decomposed_factors(module: ModuleAdapter) -> _Directions:
    """The decomposition of up · down through that of the small product of their triangular factors, in fp64."""
    left, upper = torch.linalg.qr(module.up.double())
    right, lower = torch.linalg.qr(module.down.double().T)
    inner_left, values, inner_right = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    floor = _CANCELLED * (module.up.norm() * module.down.norm()).item()
    return _Directions(left @ inner_left, values, inner_right @ right.T, floor)


def _holding(squares: Tensor, total: float, energy: float | None) -> int:
    """How many of the largest directions hold a share of the whole; all where none is asked for."""
    if energy is None or energy >= 1:
        return len(squares)
    return int((squares.cumsum(0) < energy * total).sum()) + 1
