"""Owns the names of the curves and which numbers of an event they show; a number that is not finite is left out."""

import math
from collections.abc import Collection, Iterator

from lorasmith.events import StepDone, ValidationDone


def curves_of(event: StepDone | ValidationDone, parts: Collection[str]) -> dict[str, float]:
    """The points of all curves after one step. `parts` are all that train at some time in the run."""
    match event:
        case StepDone():
            points = _step(event, parts)
        case ValidationDone():
            points = _validation(event)
    return {name: value for name, value in points if math.isfinite(value)}


def _step(done: StepDone, parts: Collection[str]) -> Iterator[tuple[str, float]]:
    yield "train/loss", done.loss
    yield "train/instance_loss", done.instance_loss
    if done.prior_loss is not None:
        yield "train/prior_loss", done.prior_loss
    for bucket, told in done.by_timestep.items():
        yield f"train_loss_by_timestep/{bucket}", told.loss
    for part, rate in done.rates.items():
        yield f"rate/{part}", rate
    for part, distance in done.distances.items():
        yield f"prodigy_d/{part}", distance
    for part, norm in done.gradient_norms.items():
        yield f"gradient_norm/{part}", norm
    for part in parts:
        yield f"trains/{part}", float(part in done.rates)
    yield "time/seconds_per_step", done.seconds


def _validation(done: ValidationDone) -> Iterator[tuple[str, float]]:
    yield "validation/loss", done.loss
    for bucket, loss in done.by_timestep.items():
        yield f"validation_loss_by_timestep/{bucket}", loss
