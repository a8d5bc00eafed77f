"""Owns showing a run's events in its trackers; decides neither what is measured nor how a tracker keeps it."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from lorasmith.events import (
    Emit,
    EndReason,
    Event,
    Notice,
    RunEnded,
    RunStarted,
    SamplesReady,
    StepDone,
    ValidationDone,
)
from lorasmith.tracking.concealing import without_secrets
from lorasmith.tracking.curves import curves_of
from lorasmith.tracking.feeder import Feeder
from lorasmith.tracking.tracker import Hyperparameter, Picture, RunFacts, Tracker


@dataclass(frozen=True)
class TrackedRun:
    """A run as trackers list it; `parts` are all that train at some time in it."""

    name: str
    project: str
    hyperparameters: Mapping[str, Hyperparameter]
    parts: Collection[str]


class TrackerListener:
    """An `emit` that feeds trackers, each on its own thread.

    They start with the first step, not with the run: one that ends before would leave an empty entry in their lists.
    """

    def __init__(
        self,
        run: TrackedRun,
        trackers: Mapping[str, Tracker],
        *,
        tell: Emit,
        make_feeder: Callable[[str], Feeder] = Feeder,
    ) -> None:
        """`tell` hears what a tracker says when it starts, and once of each that fails."""
        self._run = run
        self._trackers = trackers
        self._tell = tell
        self._make_feeder = make_feeder
        self._feeders: dict[str, Feeder] = {}
        self._started: RunStarted | None = None

    def __call__(self, event: Event) -> None:
        """Pass one event on; waits for a tracker at the end of the run alone, and not for long."""
        match event:
            case RunStarted():
                self._started = event
            case StepDone() | ValidationDone():
                self._start_once()
                points = curves_of(event, self._run.parts)
                self._feed_all(lambda tracker: tracker.numbers(event.step, points))
            case SamplesReady():
                drawn = zip(event.pictures, event.prompts, strict=True)
                pictures = [Picture(path, without_secrets(prompt)) for path, prompt in drawn]
                self._feed_all(lambda tracker: tracker.pictures(event.step, pictures))
            case RunEnded():
                self._finish(event.reason)
            case _:
                return
        self._pass_on_what_was_said()

    def _start_once(self) -> None:
        if self._feeders or self._started is None:
            return
        facts = _facts(self._run, self._started)
        self._feeders = {name: self._make_feeder(name) for name in self._trackers}
        self._feed_all(lambda tracker: tracker.start(facts))

    def _feed_all(self, call: Callable[[Tracker], str | None]) -> None:
        for name, feeder in self._feeders.items():
            feeder.feed(_bound(call, self._trackers[name]))

    def _finish(self, reason: EndReason) -> None:
        for name, feeder in self._feeders.items():
            feeder.finish(_bound(lambda tracker: tracker.finish(reason), self._trackers[name]))

    def _pass_on_what_was_said(self) -> None:
        for feeder in self._feeders.values():
            for text in feeder.said():
                self._tell(Notice(text))


def _facts(run: TrackedRun, started: RunStarted) -> RunFacts:
    planned: dict[str, Hyperparameter] = {
        "plan.steps": started.total_steps,
        "plan.pivot_step": "none" if started.pivot_step is None else started.pivot_step,
    }
    return RunFacts(
        run.name, run.project, {**run.hyperparameters, **planned}, first=started.step, resumed=started.resumed
    )


def _bound(call: Callable[[Tracker], str | None], tracker: Tracker) -> Callable[[], str | None]:
    return lambda: call(tracker)
