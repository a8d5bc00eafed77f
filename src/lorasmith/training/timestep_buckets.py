# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch's `tolist` is not typed.
"""Owns how losses are told by timestep, in eight equal buckets of the schedule; measures none itself."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from lorasmith.events import TimestepLoss

BUCKETS = 8


@dataclass(frozen=True)
class ExampleLosses:
    """What some examples lost [N], and at which timesteps [N]; not differentiated."""

    losses: Tensor
    timesteps: Tensor


def bucket_names(timesteps: int) -> tuple[str, ...]:
    """The buckets of a schedule of so many timesteps, such as `0-124`, from the least noise to the most."""
    starts = (*_starts(timesteps), timesteps)
    return tuple(f"{start}-{end - 1}" for start, end in pairwise(starts))


def losses_by_bucket(measured: Sequence[ExampleLosses], *, timesteps: int) -> dict[str, TimestepLoss]:
    """The mean loss of each bucket that an example fell into, in the schedule's order."""
    losses = [loss for some in measured for loss in some.losses.tolist()]
    places = [timestep for some in measured for timestep in some.timesteps.tolist()]
    starts, names = _starts(timesteps), bucket_names(timesteps)
    fallen: dict[str, list[float]] = {name: [] for name in names}
    for loss, timestep in zip(losses, places, strict=True):
        fallen[names[bisect_right(starts, timestep) - 1]].append(loss)
    return {name: TimestepLoss(sum(found) / len(found), len(found)) for name, found in fallen.items() if found}


def _starts(timesteps: int) -> tuple[int, ...]:
    return tuple(timesteps * bucket // BUCKETS for bucket in range(BUCKETS))
