# pyright: reportUnknownMemberType=false
"""Owns noticing that a run has gone wrong: a loss that is not finite, an adapter that does not move."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lorasmith.data.batches import Batch
from lorasmith.errors import DivergedError
from lorasmith.optim.part import PartOptimizer
from lorasmith.training.step import StepDraws

PATIENCE = 10
"""Updates after which a part that trains must have moved."""


def check_loss_is_finite(loss: float, step: int, batch: Batch, draws: StepDraws) -> None:
    """Stop before the update when a loss is not finite, naming pictures and timesteps."""
    if math.isfinite(loss):
        return
    pictures = ", ".join(dict.fromkeys(draw.example.path.name for draw in batch.draws))
    raise DivergedError(
        f"the loss of step {step + 1} is {loss}; no update was made from it",
        where=f"pictures {pictures}; timesteps {', '.join(map(str, draws.timesteps.tolist()))}",
        remedy="Lower optimizer.learning_rate or use runtime.precision = \"fp32\"; "
        "`lorasmith train --resume` goes on from the last checkpoint.",
    )


def check_gradient_is_finite(norm: float, step: int, part: str) -> None:
    """Stop before the update when a gradient is not finite."""
    if not math.isfinite(norm):
        raise DivergedError(
            f"the gradient of {part} in step {step + 1} is {norm}; no update was made from it",
            remedy="Lower optimizer.learning_rate or use runtime.precision = \"fp32\".",
        )


class MovementSentinel:
    """Remembers where each part stood and complains about one that has trained and not moved."""

    def __init__(self, parts: Mapping[str, PartOptimizer]) -> None:
        self._start: dict[str, Tensor] = {name: part.buffer.detach().clone() for name, part in parts.items()}
        self._updates = dict.fromkeys(parts, 0)

    def watch(self, part: PartOptimizer, multiplier: float) -> None:
        """Count an update of a part; after `PATIENCE` of them at a rate above zero it must have moved."""
        if part.name not in self._start or multiplier == 0.0:
            return
        self._updates[part.name] += 1
        if self._updates[part.name] < PATIENCE:
            return
        if torch.equal(self._start.pop(part.name), part.buffer.detach()):
            raise DivergedError(
                f"{part.name} has not moved in {PATIENCE} updates: every gradient it got was zero",
                remedy="For new tokens: check that captions name the token abstraction. Otherwise please report it.",
            )
