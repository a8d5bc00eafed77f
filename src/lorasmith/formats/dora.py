"""Owns what a DoRA makes of a weight: as it was trained, and as programs that read it otherwise compute it.

A layer's merged weight W + s·B·A is brought, row by row or column by column, to its magnitudes (arXiv 2402.09353,
equation 5). Which of the two, and by whose norms, is where programs differ.
"""

# torch.linalg is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Literal, assert_never

import torch
from torch import Tensor

from lorasmith.formats.weights import MagnitudeAxis, ModuleAdapter

DoraRule = Literal["exact", "base norms on outputs", "inputs only", "inputs only, unscaled", "passed over"]
"""How a program applies magnitudes: as trained; as trained for inputs, but divided by the base's own norms for outputs;
always divided by the norms of columns, whatever the magnitudes' shape; that, with alpha ÷ rank put on the result in
place of the change; or not at all."""


def dora_change(weight: Tensor, module: ModuleAdapter) -> Tensor:
    """What a DoRA adds to a weight, its scale folded into `up`; rows of a merged weight of zeros add none."""
    change = module.change().to(weight.device)
    if module.magnitude is None:
        return change
    merged = weight + change
    return (
        _spread(module.magnitude.to(weight), merged, module.magnitude_axis)
        / _norms(merged, module.magnitude_axis)
        * merged
        - weight
    )


def change_by(rule: DoraRule, weight: Tensor, module: ModuleAdapter, *, scale: float) -> Tensor:
    """What a program adds to a weight, where the scale is not folded in yet."""
    scaled = module.scaled(scale)
    if module.magnitude is None:
        return scaled.change()
    magnitude = _spread(module.magnitude, weight, module.magnitude_axis)
    match rule:
        case "exact":
            return dora_change(weight, scaled)
        case "passed over":
            return scaled.change()
        case "base norms on outputs":
            merged = weight + scaled.change()
            by = weight if module.magnitude_axis == "output" else merged
            return magnitude / _norms(by, module.magnitude_axis) * merged - weight
        case "inputs only":
            merged = weight + scaled.change()
            return magnitude / _norms(merged, "input") * merged - weight
        case "inputs only, unscaled":
            merged = weight + module.change()
            return (magnitude / _norms(merged, "input") * merged - weight) * scale
        case _:
            assert_never(rule)


def _norms(weight: Tensor, axis: MagnitudeAxis) -> Tensor:
    """Norms of rows [out, 1, …] or columns [1, in, …], never zero."""
    over = tuple(range(weight.ndim))
    kept = 0 if axis == "output" else 1
    across = tuple(dimension for dimension in over if dimension != kept)
    norms: Tensor = torch.linalg.vector_norm(weight, dim=across, keepdim=True)
    return norms.clamp_min(torch.finfo(weight.dtype).tiny)


def _spread(magnitude: Tensor, weight: Tensor, axis: MagnitudeAxis) -> Tensor:
    """A magnitude as a column [out, 1, …] or a row [1, in, …]."""
    ones = (1,) * (weight.ndim - 2)
    return magnitude.reshape((-1, 1, *ones) if axis == "output" else (1, -1, *ones))
