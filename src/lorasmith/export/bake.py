"""Owns baking a DoRA into a plain LoRA for readers that know no DoRA, and measuring what is lost; writes no file.

A DoRA's layer has the weight m · (W + s·B·A) ÷ ‖W + s·B·A‖, each row by itself (arXiv 2402.09353, equation 5, with
peft's axis: one magnitude for each output; LyCORIS' default is one for each input). What that adds to W is no longer
of low rank, since every row of W is scaled by a number of its own; the closest matrix of a rank is its truncated
singular value decomposition (Eckart–Young).
"""

# torch.linalg is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from lorasmith import rng
from lorasmith.export.from_peft import frozen_weight
from lorasmith.export.weights import (
    AdapterWeights,
    BakedAdapters,
    BakingLoss,
    ModuleAdapter,
    Part,
    PartAdapter,
)
from lorasmith.formats.dora import dora_change

_TIMES_THE_RANK, _AT_LEAST = 2, 32
"""The baked rank where none is named. Measured on the embedded base: docs/adapters.md says what other ranks lose."""
_WHOLE_UP_TO = 256
"""Narrowest side of matrices that are decomposed whole; wider ones by subspace iteration, hundreds of times faster."""
_OVERSAMPLED, _ITERATIONS = 16, 4


__all__ = ["bake", "dora_change"]


@dataclass(frozen=True)
class _BakedModule:
    adapter: ModuleAdapter
    loss: BakingLoss


def bake(weights: AdapterWeights, parts: Mapping[Part, nn.Module], *, rank: int | None = None) -> BakedAdapters:
    """Every part as plain LoRA: DoRA through the frozen weights of `parts`, LoRA as it is. Equal calls, equal bytes.

    `rank` None means twice each layer's own, at least 32. No layer gets more than its shorter side, which loses none.
    """
    baked: dict[Part, PartAdapter] = {}
    losses: dict[str, BakingLoss] = {}
    for part, adapter in weights.parts.items():
        if adapter.kind == "lora":
            baked[part] = adapter
            continue
        modules = {
            path: _bake_module(_where_svd_is(frozen_weight(parts[part], path)), module, scale=adapter.scale, rank=rank)
            for path, module in adapter.modules.items()
        }
        baked[part] = _part({path: module.adapter for path, module in modules.items()})
        losses |= {f"{part}.{path}": module.loss for path, module in modules.items()}
    return BakedAdapters(baked, losses)


def _where_svd_is(weight: Tensor) -> Tensor:
    """On CUDA or the CPU: torch has no singular value decomposition elsewhere."""
    return weight if weight.is_cuda else weight.cpu()


def _bake_module(weight: Tensor, module: ModuleAdapter, *, scale: float, rank: int | None) -> _BakedModule:
    whole = dora_change(weight, module.scaled(scale))
    change = whole.flatten(1)
    wanted = min(rank or max(_TIMES_THE_RANK * module.rank, _AT_LEAST), *change.shape)
    left, values, right = decomposed(change, wanted)
    root = values.sqrt()
    up, down = left * root, root.unsqueeze(1) * right
    loss = BakingLoss(change.norm().item(), (change - up @ down).norm().item())
    shaped = down.cpu().reshape(len(down), *whole.shape[1:])
    return _BakedModule(ModuleAdapter(shaped.contiguous(), up.cpu().contiguous()), loss)


def decomposed(matrix: Tensor, rank: int) -> tuple[Tensor, Tensor, Tensor]:
    """The largest `rank` singular values with their vectors: left [out, r], values [r], right [r, in]."""
    if min(matrix.shape) <= _WHOLE_UP_TO:
        left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    else:
        with rng.scoped_seed(0, "bake"):
            left, values, across = torch.svd_lowrank(
                matrix, q=min(rank + _OVERSAMPLED, *matrix.shape), niter=_ITERATIONS
            )
        right = across.T
    return left[:, :rank], values[:rank], right[:rank]


def _part(modules: Mapping[str, ModuleAdapter]) -> PartAdapter:
    """Plain LoRA of scale 1; its usual rank is the commonest."""
    rank, _ = Counter(module.rank for module in modules.values()).most_common(1)[0]
    return PartAdapter(modules, rank, float(rank))
