"""Owns the optimizer of the networks' matrices, whose steps are orthogonal; refuses vectors and embeddings.

Muon (Jordan 2024, kellerjordan.github.io/posts/muon): momentum, made orthogonal by five Newton-Schulz iterations and
scaled so that a step has the size of AdamW's (Liu et al. 2025, arXiv 2502.16982).
"""
# pyright: basic, reportIncompatibleMethodOverride=false

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

_COEFFICIENTS: Final = (3.4445, -4.7750, 2.0315)
_ITERATIONS: Final = 5
_ADAMW_SIZE: Final = 0.2


class OrthogonalSteps(Optimizer):
    """Momentum SGD with orthogonal steps, for parameters of two or more dimensions (the first against the rest)."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, *, momentum: float = 0.95) -> None:
        """`lr` is of AdamW's scale."""
        super().__init__(parameters, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group["lr"], group["momentum"])

    def _update(self, parameter: Tensor, gradient: Tensor, rate: float, momentum: float) -> None:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(gradient)
        held = state["momentum"].lerp_(gradient, 1 - momentum)
        direction = orthogonalised(gradient.lerp(held, momentum).flatten(1))
        size = _ADAMW_SIZE * math.sqrt(max(direction.shape))
        parameter.add_(direction.to(parameter.dtype).view_as(parameter), alpha=-rate * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """The matrix (rows, columns) with its singular values moved to about one, in bf16."""
    tall = matrix.shape[0] > matrix.shape[1]
    wide = (matrix.T if tall else matrix).bfloat16()
    wide = wide / (wide.norm() + 1e-7)
    first, third, fifth = _COEFFICIENTS
    for _ in range(_ITERATIONS):
        gram = wide @ wide.T
        wide = first * wide + (third * gram + fifth * gram @ gram) @ wide
    return wide.T if tall else wide


def is_matrix(name: str, parameter: Tensor) -> bool:
    """Whether a parameter is an inner matrix: not a vector, an embedding, or the denoiser's first or last layer."""
    outer = ("embedding", "conv_in", "conv_out")
    return parameter.ndim >= 2 and not any(word in name for word in outer)
