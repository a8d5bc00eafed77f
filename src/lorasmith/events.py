"""Owns what a run says while it goes on, as frozen data; knows nobody who listens.

The loop and the use cases call `emit(event)`; progress bars, trackers, reports and pages subscribe.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

EndReason = Literal["done", "stopped", "failed"]


@dataclass(frozen=True)
class RunStarted:
    """A run begins (or goes on) at `step` of `total_steps`; `pivot_step` is None when no new tokens train."""

    step: int
    total_steps: int
    pivot_step: int | None
    resumed: bool


@dataclass(frozen=True)
class WorkDone:
    """A part of some countable work besides steps is done (`task`: "caching latents", "drawing class images", …)."""

    task: str
    done: int
    total: int


@dataclass(frozen=True)
class PhaseChanged:
    """From `step` on, `trains` names the parts that train."""

    step: int
    phase: str
    trains: tuple[str, ...]


@dataclass(frozen=True)
class TimestepLoss:
    """The mean loss of `examples` instance examples whose timesteps fell into one bucket of the schedule."""

    loss: float
    examples: int


@dataclass(frozen=True)
class StepDone:
    """One optimizer update: losses (unitless mean squares), effective rates (`d·lr` under Prodigy), seconds.

    `by_timestep` has the buckets that an instance example of this step fell into; over all its examples the mean is
    `instance_loss` (when each micro-step has as many).
    """

    step: int
    loss: float
    instance_loss: float
    prior_loss: float | None
    rates: Mapping[str, float]
    gradient_norms: Mapping[str, float]
    seconds: float
    distances: Mapping[str, float] = field(default_factory=dict[str, float])
    by_timestep: Mapping[str, TimestepLoss] = field(default_factory=dict[str, TimestepLoss])


@dataclass(frozen=True)
class ValidationDone:
    """The fixed-noise loss on held-out pictures after `step`; `by_timestep` in buckets of the schedule."""

    step: int
    loss: float
    by_timestep: Mapping[str, float]


@dataclass(frozen=True)
class CandidateMeasured:
    """What a checkpoint may be chosen by after `step`: the held-out loss (None: nothing is held out) and the drift."""

    step: int
    held_out_loss: float | None
    drift: float | None


@dataclass(frozen=True)
class CheckpointChosen:
    """The checkpoint after `step` is the one that is exported, and why."""

    step: int
    reason: str


@dataclass(frozen=True)
class SamplesReady:
    """Validation pictures were drawn after `step`."""

    step: int
    pictures: tuple[Path, ...]
    prompts: tuple[str, ...]


@dataclass(frozen=True)
class CheckpointWritten:
    """A checkpoint is whole on disk."""

    step: int
    folder: Path


@dataclass(frozen=True)
class ExportWritten:
    """An export was written and read back."""

    path: Path
    readers: tuple[str, ...]


@dataclass(frozen=True)
class PushDone:
    """Everything that is shared is on the hub: so many files were sent now, the others had been there."""

    repo: str
    url: str
    sent: int
    already_there: int


@dataclass(frozen=True)
class Notice:
    """Something the user may not have meant, and how to silence it."""

    text: str


@dataclass(frozen=True)
class RunEnded:
    """The run is over at `step`, and why."""

    step: int
    reason: EndReason
    message: str = ""


Event = (
    RunStarted
    | WorkDone
    | PhaseChanged
    | StepDone
    | ValidationDone
    | CandidateMeasured
    | CheckpointChosen
    | SamplesReady
    | CheckpointWritten
    | ExportWritten
    | PushDone
    | Notice
    | RunEnded
)
Emit = Callable[[Event], None]


def as_record(event: Event) -> dict[str, Any]:
    """The event as plain JSON data, its kind first."""
    return {"event": type(event).__name__, **asdict(event)}


def ignore(event: Event) -> None:
    """An `emit` for callers who do not listen."""
    del event
