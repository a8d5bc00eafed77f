"""Owns comparing and shrinking what adapters change, by their thin factors alone; no weight's whole matrix is made."""

# torch.linalg is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lorasmith.errors import ConfigError
from lorasmith.formats.weights import BakingLoss, ModuleAdapter


@dataclass(frozen=True)
class ResizedModule:
    """An adapter at another rank, and what that lost."""

    adapter: ModuleAdapter
    loss: BakingLoss


def change_norm(adapter: ModuleAdapter) -> float:
    """The Frobenius norm of what an adapter adds, by the small products: ‖U·D‖² is the trace of UᵀU·DDᵀ."""
    up, down = adapter.up.double(), adapter.down.double().flatten(1)
    squared = float(torch.sum((up.T @ up) * (down @ down.T)))
    return math.sqrt(squared) if squared > 0 else squared * 0  # a hair below nothing is rounding; NaN stays


def difference(wanted: ModuleAdapter, found: ModuleAdapter) -> float:
    """How far two adapters' changes are apart, as a share of the first's norm; infinite where shapes or axes differ.

    U₁·D₁ - U₂·D₂ is itself a product of two thin matrices, [U₁, -U₂] and [D₁; D₂]; in double precision its norm is
    good to about 1e-8 of the change's.
    """
    if wanted.shape != found.shape or (wanted.magnitude is None) != (found.magnitude is None):
        return math.inf
    both = ModuleAdapter(
        torch.cat((wanted.down.double(), found.down.double())), torch.cat((wanted.up.double(), -found.up.double()), 1)
    )
    share = _share(change_norm(both), change_norm(wanted))
    if wanted.magnitude is None or found.magnitude is None:
        return share
    if wanted.magnitude_axis != found.magnitude_axis or wanted.magnitude.shape != found.magnitude.shape:
        return math.inf
    apart = torch.linalg.vector_norm(wanted.magnitude.double() - found.magnitude.double())
    return max(share, _share(float(apart), float(torch.linalg.vector_norm(wanted.magnitude.double()))))


def resized(adapter: ModuleAdapter, *, rank: int | None = None, energy: float | None = None) -> ResizedModule:
    """The nearest adapter of a rank, or of the smallest rank that keeps a share of the change's squared norm.

    By the singular values of the change (Eckart-Young), found from those of the factors' triangles. ConfigError for a
    DoRA, whose magnitudes would scale what is lost back in.
    """
    if adapter.magnitude is not None:
        raise ConfigError("a DoRA cannot be resized as it is", remedy="Bake it to a plain LoRA (--bake --base BASE).")
    left, values, right = _singular(adapter)
    kept = _kept(values, rank, energy)
    root = values[:kept].sqrt()
    up, down = left[:, :kept] * root, root[:, None] * right[:kept]
    lost = float(torch.linalg.vector_norm(values[kept:]))
    small = replace(adapter, up=up.float(), down=down.float().reshape(kept, *adapter.down.shape[1:]))
    return ResizedModule(small, BakingLoss(float(torch.linalg.vector_norm(values)), lost))


def _singular(adapter: ModuleAdapter) -> tuple[Tensor, Tensor, Tensor]:
    """Left [out, r], values [r] and right [r, in] of a change, in double precision."""
    left, upper = torch.linalg.qr(adapter.up.double())
    right, lower = torch.linalg.qr(adapter.down.double().flatten(1).T)
    inner_left, values, inner_right = torch.linalg.svd(upper @ lower.T, full_matrices=False)
    return left @ inner_left, values, inner_right @ right.T


def _kept(values: Tensor, rank: int | None, energy: float | None) -> int:
    """How many singular values stay: at least one."""
    if energy is None:
        return min(rank or len(values), len(values))
    squares = values.square().cumsum(0)
    if not squares[-1] > 0:
        return 1
    return min(int((squares < energy * squares[-1]).sum()) + 1, len(values), rank or len(values))


def _share(part: float, whole: float) -> float:
    if part == 0:
        return 0.0
    return part / whole if whole else math.inf
