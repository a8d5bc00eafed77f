"""What a run looks like while it goes on, on a terminal and elsewhere."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from rich.console import Console

from lorasmith.cli.progress_bar import PIVOT_MARK, Bars, bar_text, showing
from lorasmith.cli.run_view import RunView, Smoothed, clock_text
from lorasmith.events import (
    CheckpointWritten,
    Event,
    Notice,
    PhaseChanged,
    RunStarted,
    StepDone,
    ValidationDone,
    WorkDone,
)

RATES = {"denoiser": 1.25e-4, "new_tokens_1": 3e-4}


def step(number: int, *, loss: float = 0.5, seconds: float = 0.5) -> StepDone:
    """One step."""
    return StepDone(number, loss, loss, None, RATES, {}, seconds)


def shown(events: Sequence[Event], *, terminal: bool, seconds_apart: float = 1.0) -> str:
    """What appears on a console when the events come one after the other."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=terminal, width=120, color_system=None, _environ={"TERM": "xterm"})
    now = iter(number * seconds_apart for number in range(10_000))
    with showing(console, clock=lambda: next(now)) as emit:
        for event in events:
            emit(event)
    return file.getvalue()


def test_the_pivot_is_marked_where_it_lies() -> None:
    assert bar_text(0, 100, pivot=50, width=10).plain == f"─────{PIVOT_MARK}────"
    assert bar_text(70, 100, pivot=50, width=10).plain == f"━━━━━{PIVOT_MARK}━───"
    assert bar_text(100, 100, width=4).plain == "━━━━"


@pytest.mark.parametrize("pivot", [None, 0, 100])
def test_a_pivot_at_either_end_is_no_mark(pivot: int | None) -> None:
    assert PIVOT_MARK not in bar_text(10, 100, pivot=pivot).plain


def test_a_bar_without_steps_is_empty() -> None:
    assert bar_text(0, 0, width=3).plain == "───"


def test_a_terminal_shows_steps_pivot_loss_rates_speed_and_time_left() -> None:
    text = shown([RunStarted(0, 200, 100, False), PhaseChanged(0, "pivotal", ("denoiser",)), step(1)], terminal=True)
    for part in ("training", "1/200", PIVOT_MARK, "pivotal", "loss 0.5000", "denoiser 0.000125", "new_tokens_1 0.0003",
                 "2.0 steps/s", "1:40 left"):  # fmt: skip
        assert part in text


def test_other_work_has_its_own_bar_while_it_lasts() -> None:
    text = shown([RunStarted(0, 9, None, False), WorkDone("drawing class images", 3, 8)], terminal=True)
    assert "drawing class images" in text
    assert "3/8" in text


def test_a_bar_of_other_work_goes_when_the_work_is_done() -> None:
    bars = Bars(Console(file=io.StringIO()))
    bars(WorkDone("caching", 1, 2))
    assert [task.description for task in bars.progress.tasks] == ["caching"]
    bars(WorkDone("caching", 2, 2))
    assert bars.progress.tasks == []


def test_notices_stand_above_the_bar() -> None:
    text = shown([RunStarted(0, 9, None, False), Notice("left out a.png"), step(1)], terminal=True)
    assert text.index("note: left out a.png") < text.rindex("1/9")


def test_happenings_have_a_line_each() -> None:
    events = [
        RunStarted(4, 9, 5, True),
        PhaseChanged(5, "denoiser only", ("denoiser",)),
        ValidationDone(6, 0.25, {}),
        CheckpointWritten(6, Path("wolf/checkpoints/step-000006")),
    ]
    lines = shown(events, terminal=False).splitlines()
    assert lines == [
        "going on after step 4 of 9",
        "from step 5: denoiser only (trains denoiser)",
        "step 6: held-out loss 0.2500",
        f"step 6: checkpoint in {Path('wolf/checkpoints/step-000006')}",
    ]


def test_a_pipe_gets_plain_lines_now_and_then_and_the_last_step() -> None:
    text = shown([RunStarted(0, 34, 17, False), *(step(number) for number in range(1, 35))], terminal=False)
    assert "\x1b" not in text
    assert "\r" not in text
    assert re.findall(r"step (\d+)/34", text) == ["1", "11", "21", "31", "34"]
    assert "loss 0.5000" in text


def test_hostile_names_cannot_steer_the_terminal() -> None:
    hostile = [Notice("\x1b[2Jleft out \x07a.png"), WorkDone("\x1b]0;owned\x07caching", 1, 2)]
    for terminal in (True, False):
        text = shown(hostile, terminal=terminal)
        assert "\x1b[2J" not in text
        assert "\x07" not in text
        assert "left out a.png" in text


def test_a_smoothed_value_is_right_from_the_first_and_follows_slowly() -> None:
    smoothed = Smoothed()
    assert smoothed.value is None
    smoothed.add(2.0)
    assert smoothed.value == pytest.approx(2.0)
    for _ in range(100):
        smoothed.add(1.0)
    assert smoothed.value == pytest.approx(1.0, abs=1e-3)


def test_time_left_follows_the_present_speed() -> None:
    view = RunView()
    for event in (RunStarted(0, 100, 50, False), step(50, seconds=2.0)):
        view.take(event)
    assert view.seconds_left == pytest.approx(100)
    assert view.speed_text() == "2.0 s/step, 1:40 left"
    view.take(step(51, seconds=0.1))
    assert view.seconds_left is not None
    assert view.seconds_left < 98 * 2


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (192.4, "3:12"), (3792, "1:03:12")])
def test_clock_times_read_as_on_a_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text
