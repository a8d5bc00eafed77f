"""A tracker that fails, hangs or exits is told of once, and the run neither waits for it nor notices otherwise."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from lorasmith.events import EndReason, Event, Notice, RunEnded, RunStarted, SamplesReady, StepDone, ValidationDone
from lorasmith.tracking.feeder import Feeder
from lorasmith.tracking.listener import TrackedRun, TrackerListener
from lorasmith.tracking.tracker import Picture, RunFacts, Tracker

RUN = TrackedRun("wolf", "wolves", {"adapter.rank": 4}, ["denoiser"])
START = RunStarted(0, 100, 50, resumed=False)


class Recording:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.facts: list[RunFacts] = []
        self.told: list[tuple[int, str]] = []
        self.ended: list[EndReason] = []
        self.threads: set[int] = set()

    def start(self, facts: RunFacts) -> str | None:
        self.facts.append(facts)
        return "look here"

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        self.threads.add(threading.get_ident())
        self.told += [(step, name) for name in values if name.endswith("/loss")]

    def pictures(self, step: int, pictures: Sequence[Picture]) -> None:
        self.told += [(step, f"{picture.path.name}: {picture.prompt}") for picture in pictures]

    def finish(self, reason: EndReason) -> None:
        self.ended.append(reason)


class Failing(Recording):
    """Raises when it is given numbers from the third step on."""

    def __init__(self, failure: BaseException) -> None:
        super().__init__()
        self._failure = failure

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        super().numbers(step, values)
        if step >= 3:
            raise self._failure


class Hanging(Recording):
    """Never comes back from its start until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()

    def start(self, facts: RunFacts) -> str | None:
        self.let_go.wait(30)
        return super().start(facts)


def step(number: int) -> StepDone:
    """A step's event."""
    return StepDone(number, 0.1, 0.1, None, {"denoiser": 1.0}, {"denoiser": 0.1}, 0.01)


def run_through(tracker: Tracker, *, steps: int = 10, limit: int = 1000, patience: float = 5.0) -> list[str]:
    """A whole run's events; what the user was told."""
    told: list[Event] = []
    listener = TrackerListener(
        RUN, {"wandb": tracker}, tell=told.append,
        make_feeder=lambda name: Feeder(name, limit=limit, patience_seconds=patience),
    )  # fmt: skip
    for event in (START, *map(step, range(1, steps + 1)), RunEnded(steps, "done")):
        listener(event)
    return [event.text for event in told if isinstance(event, Notice)]


def test_a_tracker_hears_facts_numbers_pictures_and_the_end_in_order_on_a_thread_of_its_own() -> None:
    tracker = Recording()
    told: list[Event] = []
    listener = TrackerListener(RUN, {"wandb": tracker}, tell=told.append)
    for event in (
        RunStarted(4, 100, 50, resumed=True),
        step(5),
        ValidationDone(5, 0.2, {}),
        SamplesReady(5, (Path("a.png"),), ("a TOK hf_AbCdEfGhIjKlMnOpQrSt",)),
        step(6),
        RunEnded(6, "stopped"),
    ):
        listener(event)
    (facts,) = tracker.facts
    assert (facts.name, facts.project, facts.first, facts.resumed) == ("wolf", "wolves", 4, True)
    assert facts.hyperparameters == {"adapter.rank": 4, "plan.steps": 100, "plan.pivot_step": 50}
    assert tracker.told == [(5, "train/loss"), (5, "validation/loss"), (5, "a.png: a TOK ***"), (6, "train/loss")]
    assert tracker.ended == ["stopped"]
    assert threading.get_ident() not in tracker.threads
    assert told == [Notice("look here")]


def test_a_run_that_ends_before_its_first_step_leaves_no_entry_in_a_tracker() -> None:
    tracker = Recording()
    assert run_through(tracker, steps=0) == []
    assert tracker.facts == tracker.ended == []


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), ValueError("no\nlogin"), SystemExit(3)])
def test_a_tracker_that_fails_is_told_of_once_and_asked_nothing_more(failure: BaseException) -> None:
    tracker = Failing(failure)
    look, *told = run_through(tracker, steps=20)
    assert look == "look here"
    (text,) = told
    assert text.startswith(f"wandb shows no more of this run: {type(failure).__name__}: ")
    assert text.endswith("metrics.jsonl has everything.")
    assert "\n" not in text
    assert max(number for number, _ in tracker.told) == 3
    assert tracker.ended == []


def test_a_failure_is_told_without_the_secrets_in_its_message() -> None:
    _, text = run_through(Failing(ValueError("401 for hf_AbCdEfGhIjKlMnOpQrSt")))
    assert "hf_" not in text
    assert "401" in text


def test_one_trackers_failure_is_nothing_to_the_others() -> None:
    failing, recording = Failing(OSError()), Recording()
    listener = TrackerListener(RUN, {"wandb": failing, "tensorboard": recording}, tell=lambda event: None)
    for event in (START, *map(step, range(1, 9)), RunEnded(8, "done")):
        listener(event)
    assert len(recording.told) == 8
    assert recording.ended == ["done"]


def test_a_tracker_that_hangs_slows_no_step_and_ends_with_the_patience_of_the_run() -> None:
    tracker = Hanging()
    started = time.monotonic()
    told = run_through(tracker, steps=200, patience=0.2)
    assert time.monotonic() - started < 5
    assert told == [
        "wandb shows no more of this run: it did not finish within 0.2 s. metrics.jsonl has everything.",
    ]
    tracker.let_go.set()


def test_what_waits_for_a_tracker_that_hangs_has_a_limit() -> None:
    tracker = Hanging()
    (text,) = run_through(tracker, steps=200, limit=50, patience=30)
    assert "it does not answer, and 50 things to show wait for it" in text
    tracker.let_go.set()
