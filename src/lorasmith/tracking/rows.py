"""Owns what trackers that only append need: each step once, also when a run that crashed does some steps again."""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lorasmith.atomic import write_text
from lorasmith.config.section import Section

_NEW: Final = -1


class _Written(Section):
    """What is kept of a tracker's run."""

    id: str
    step: int


@dataclass(frozen=True)
class TrackerMemory:
    """A file that remembers which tracker's run a run folder goes on with, and which steps it has."""

    path: Path

    def recall(self, *, resumed: bool) -> tuple[str, int]:
        """The id of the tracker's run and its last step; a new id and no step when there is nothing to go on with."""
        if resumed and self.path.is_file():
            try:
                written = _Written.model_validate_json(self.path.read_bytes())
            except ValueError:
                pass
            else:
                return written.id, written.step
        return uuid.uuid4().hex[:8], _NEW

    def remember(self, run_id: str, step: int) -> None:
        """Keep it, whole or not at all."""
        write_text(self.path, _Written(id=run_id, step=step).model_dump_json() + "\n")


class Rows:
    """Gathers all that is said of a step and passes it on once.

    A run that goes on from a checkpoint does the steps after it again, exactly: what a tracker has of them stays.
    """

    def __init__(self, *, shown: int, show: Callable[[int, Mapping[str, Any]], None]) -> None:
        """`shown` is the last step that the tracker has; `show` appends a row."""
        self._shown = shown
        self._show = show
        self._step = _NEW
        self._row: dict[str, Any] = {}

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Values of one step, which never goes back."""
        if step <= self._shown:
            return
        if step != self._step:
            self.close()
        self._step = step
        self._row |= values

    def close(self) -> None:
        """Pass the last row on: nothing more will be said of its step."""
        if self._row:
            self._show(self._step, self._row)
            self._shown, self._row = self._step, {}
