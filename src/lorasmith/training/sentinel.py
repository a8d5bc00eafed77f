# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# torch's `tolist` is not typed.
"""Owns noticing that a run has gone wrong: a loss that is not finite, an adapter that does not move."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from lorasmith.data.batches import Batch
from lorasmith.errors import DivergedError
from lorasmith.optim.lr_schedule import RateSchedule
from lorasmith.optim.part import PartOptimizer
from lorasmith.training.phases import PartName, PhaseSchedule
from lorasmith.training.step import StepDraws

PATIENCE = 10
"""Updates after which a part that trains must have learnt something; an epoch of them where that is longer."""


def check_loss_is_finite(loss: float, step: int, batch: Batch, draws: StepDraws) -> None:
    """Stop before the update when a loss is not finite, naming pictures and timesteps."""
    if math.isfinite(loss):
        return
    pictures = ", ".join(dict.fromkeys(draw.example.path.name for draw in batch.draws))
    raise DivergedError(
        f"the loss of step {step + 1} is {loss}; no update was made from it",
        where=f"pictures {pictures}; timesteps {', '.join(map(str, draws.timesteps.tolist()))}",
        remedy='Lower optimizer.learning_rate or use runtime.precision = "fp32"; '
        "`lorasmith train --resume` goes on from the last checkpoint.",
    )


def check_gradient_is_finite(norm: float, step: int, part: str) -> None:
    """Stop before the update when a gradient is not finite."""
    if not math.isfinite(norm):
        raise DivergedError(
            f"the gradient of {part} in step {step + 1} is {norm}; no update was made from it",
            remedy='Lower optimizer.learning_rate or use runtime.precision = "fp32".',
        )


def check_weights_are_finite(parts: Mapping[str, PartOptimizer], step: int) -> None:
    """Keep an update that overflowed out of checkpoints and exports."""
    for part in parts.values():
        if not part.buffer.isfinite().all():
            raise DivergedError(
                f"the weights of {part.name} are not finite after step {step}; nothing of it was kept",
                remedy="Lower optimizer.learning_rate; `lorasmith train --resume` goes on from the last checkpoint.",
            )


def refuse_untrained(parts: Mapping[str, PartOptimizer], schedule: PhaseSchedule, rates: RateSchedule) -> None:
    """Refuse to end a run in which a part that was to train got no update from a gradient that was not zero."""
    steps = [step for step in range(schedule.total_steps) if rates.multiplier_at(step) > 0]
    if not steps:
        raise DivergedError(
            f"nothing was trained: the rate of each of the {schedule.total_steps} steps was 0",
            remedy="Shorten schedule.warmup_steps or train for more steps.",
        )
    wanted = frozenset[PartName]().union(*(schedule.phase_at(step).trains for step in steps))
    for name in sorted(wanted):
        if not parts[name].has_had_gradient:
            raise _not_trained(name, "in the whole run")


class MovementSentinel:
    """Remembers where each part stood and complains about one that has trained and learnt nothing.

    Weight decay and the new tokens' norm move weights without any gradient, so moving alone is no proof of learning.
    """

    def __init__(self, parts: Mapping[str, PartOptimizer], *, patience: int = PATIENCE) -> None:
        """`patience`: at least one epoch's updates, so that each caption has been seen."""
        self._start: dict[str, Tensor] = {name: part.buffer.detach().clone() for name, part in parts.items()}
        self._updates = dict.fromkeys(parts, 0)
        self._patience = max(PATIENCE, patience)

    def watch(self, part: PartOptimizer, multiplier: float) -> None:
        """Count an update of a part; after enough of them at a rate above zero it must have learnt something."""
        if part.name not in self._start or multiplier == 0.0:
            return
        self._updates[part.name] += 1
        if self._updates[part.name] < self._patience:
            return
        start = self._start.pop(part.name)
        if not part.has_had_gradient or torch.equal(start, part.buffer.detach()):
            raise _not_trained(part.name, f"in {self._patience} updates")


def _not_trained(part: str, when: str) -> DivergedError:
    return DivergedError(
        f"{part} has learnt nothing {when}: every gradient it got was zero",
        remedy="For new tokens: check that captions name the token abstraction, or set tokens.enabled to false. "
        "Otherwise please report it.",
    )
