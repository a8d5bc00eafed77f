"""Owns how a run's events reach `events.jsonl` and `metrics.jsonl`; refuses to keep what a resumed run does again."""

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lorasmith.atomic import naming_write_failures, write_text
from lorasmith.events import Event, as_record
from lorasmith.run_folder import METRIC_EVENTS, RunFolder, read_records


class EventLog:
    """Appends each event as one line of JSON: metrics to `metrics.jsonl`, all others to `events.jsonl`.

    Paths inside the run folder are written relative to it, so that a moved folder stays whole; numbers that are not
    finite become null, which is what strict JSON has.
    """

    def __init__(self, folder: RunFolder, *, resumed_at: int) -> None:
        """Open the log of a run that goes on after step `resumed_at` (0: from the start), dropping what lies later."""
        self._folder = folder
        for path in (folder.events_file, folder.metrics_file):
            _cut_after(path, resumed_at)

    def append(self, event: Event) -> None:
        """Write one event; it survives the process from here on. ResourceError when the disk is full."""
        record = as_record(event)
        path = self._folder.metrics_file if record["event"] in METRIC_EVENTS else self._folder.events_file
        line = _line({"time": datetime.now(UTC).isoformat(timespec="milliseconds"), **record}, self._folder.path)
        with naming_write_failures(path), path.open("a", encoding="utf-8") as file:
            file.write(line)


def _cut_after(path: Path, step: int) -> None:
    """Keep what was said up to `step`: a start from the beginning keeps nothing."""
    kept = list[str]()
    for record in read_records(path) if step > 0 else ():
        if record.get("step", 0) > step:
            break
        kept.append(json.dumps(record) + "\n")
    write_text(path, "".join(kept))


def _line(record: Mapping[str, Any], folder: Path) -> str:
    return json.dumps(_plain(record, folder.resolve()), allow_nan=False) + "\n"


def _plain(value: Any, folder: Path) -> Any:
    match value:
        case Mapping():
            return {str(name): _plain(inner, folder) for name, inner in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case list() | tuple():
            return [_plain(inner, folder) for inner in value]  # pyright: ignore[reportUnknownVariableType]
        case Path():
            absolute = value.resolve()
            return str(absolute.relative_to(folder) if absolute.is_relative_to(folder) else absolute)
        case float() if not math.isfinite(value):
            return None
        case _:
            return value
