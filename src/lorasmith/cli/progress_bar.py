"""Owns how a run's events look while it goes on: bars on a terminal, plain lines elsewhere; decides nothing."""

import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager

from rich.console import Console, RenderableType
from rich.progress import Progress, ProgressColumn, Task, TaskID, TextColumn
from rich.text import Text

from lorasmith.cli.run_view import RunView
from lorasmith.cli.talk import clean, talk_console
from lorasmith.events import (
    CheckpointWritten,
    Emit,
    Event,
    ExportWritten,
    Notice,
    PhaseChanged,
    PushDone,
    RunEnded,
    RunStarted,
    SamplesReady,
    StepDone,
    ValidationDone,
    WorkDone,
)

PIVOT_MARK = "┃"
_BAR_WIDTH = 32
_SECONDS_BETWEEN_LINES = 10.0


@contextmanager
def showing(console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> Generator[Emit]:
    """An `emit` that shows events: as bars on a terminal, as a line every ten seconds or so elsewhere."""
    console = console or talk_console()
    if not console.is_terminal or console.is_dumb_terminal:
        yield PlainLines(console, clock=clock)
        return
    bars = Bars(console)
    with bars.progress:
        yield bars


def bar_text(done: int, total: int, *, pivot: int | None = None, width: int = _BAR_WIDTH) -> Text:
    """A bar of `width` cells with the pivot step marked where it lies."""
    filled = _cell(done, total, width)
    bar = Text("━" * filled, style="cyan") + Text("─" * (width - filled), style="dim")
    if pivot is not None and 0 < pivot < total:
        cell = min(_cell(pivot, total, width), width - 1)
        bar = bar[:cell] + Text(PIVOT_MARK, style="bold magenta") + bar[cell + 1 :]
    return bar


def happening(event: Event) -> str | None:
    """What an event is worth a line of its own for; None for those that only move a bar."""
    match event:
        case Notice():
            return f"note: {event.text}"
        case PhaseChanged(step=step) if step > 0:
            return f"from step {step}: {event.phase} (trains {', '.join(event.trains)})"
        case ValidationDone():
            return f"step {event.step}: held-out loss {event.loss:.4f}"
        case SamplesReady(pictures=(first, *_)):
            return f"step {event.step}: {len(event.pictures)} pictures in {first.parent}"
        case CheckpointWritten():
            return f"step {event.step}: checkpoint in {event.folder}"
        case ExportWritten():
            return f"export written and read back: {event.path}"
        case PushDone():
            return f"uploaded: {event.sent} files sent, {event.already_there} were there already: {event.url}"
        case RunStarted(resumed=True):
            return f"going on after step {event.step} of {event.total_steps}"
        case RunEnded(reason="stopped"):
            return f"stopped after step {event.step}"
        case _:
            return None


class PlainLines:
    """Events as lines without control codes, for files and pipes."""

    def __init__(self, console: Console, *, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._view = RunView()
        self._said_at: dict[str, float] = {}

    def __call__(self, event: Event) -> None:
        """Show one event if it is time for it."""
        self._view.take(event)
        line = happening(event) or self._moving(event)
        if line:
            self._console.print(clean(line))

    def _moving(self, event: Event) -> str | None:
        match event:
            case StepDone(step=step) if self._is_time("step", is_last=step >= self._view.total_steps):
                view = self._view
                return f"step {step}/{view.total_steps} · {view.status_text()} · {view.speed_text()}"
            case WorkDone(task=task, done=done, total=total) if self._is_time(task, is_last=done >= total):
                return f"{task}: {done}/{total}"
            case _:
                return None

    def _is_time(self, what: str, *, is_last: bool) -> bool:
        now = self._clock()
        if not is_last and now - self._said_at.get(what, float("-inf")) < _SECONDS_BETWEEN_LINES:
            return False
        self._said_at[what] = now
        return True


class Bars:
    """Events as bars: one for the run with the pivot marked, one for each other work; happenings above them."""

    def __init__(self, console: Console) -> None:
        self._view = RunView()
        self.progress = _RunProgress(self._view, console)
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, event: Event) -> None:
        """Show one event."""
        self._view.take(event)
        line = happening(event)
        if line:
            self.progress.console.print(clean(line))
        match event:
            case RunStarted() | StepDone():
                self._move("training", self._view.step, self._view.total_steps, self._view.pivot_step)
            case WorkDone(task=task, done=done, total=total):
                self._move(clean(task), done, total)
                if done >= total:
                    self.progress.remove_task(self._tasks.pop(clean(task)))
            case RunEnded():
                self.progress.refresh()
            case _:
                pass

    def _move(self, name: str, done: int, total: int, pivot: int | None = None) -> None:
        if name not in self._tasks:
            self._tasks[name] = self.progress.add_task(name, total=total, pivot=pivot)
        self.progress.update(self._tasks[name], completed=done, total=total, pivot=pivot)


class _PivotBarColumn(ProgressColumn):
    """The bar itself."""

    def render(self, task: Task) -> RenderableType:
        """Called by rich for each bar."""
        pivot: int | None = task.fields["pivot"]
        return bar_text(int(task.completed), int(task.total or 0), pivot=pivot)


class _RunProgress(Progress):
    """rich's bars with a line below them for loss, rates, speed and time left."""

    def __init__(self, view: RunView, console: Console) -> None:
        self._view = view
        columns = (
            TextColumn("{task.description}", markup=False),
            _PivotBarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}", markup=False),
        )
        super().__init__(*columns, console=console, refresh_per_second=4, redirect_stdout=False)

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then what they cannot say."""
        yield from super().get_renderables()
        for text in (self._view.speed_text(), self._view.status_text()):
            if text:
                yield Text(f"  {clean(text)}", style="dim", overflow="ellipsis", no_wrap=True)


def _cell(done: int, total: int, width: int) -> int:
    return min(width, done * width // total) if total > 0 else 0
