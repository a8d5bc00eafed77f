"""Owns what a report tells of a run, read off its files; anything missing or broken is left out, never guessed."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorasmith.reports.charts import Point
from lorasmith.run_folder import Record, RunFolder, RunState, read_records


@dataclass(frozen=True)
class Metrics:
    """Curves over steps; the mappings are by part."""

    loss: Sequence[Point]
    instance_loss: Sequence[Point]
    prior_loss: Sequence[Point]
    validation: Sequence[Point]
    rates: Mapping[str, Sequence[Point]]
    distances: Mapping[str, Sequence[Point]]
    seconds: float
    """Time spent in steps, in seconds."""


@dataclass(frozen=True)
class SampleRow:
    """One prompt's pictures over the run: a file for each step that has one."""

    prompt: str
    pictures: Sequence[tuple[int, Path]]


@dataclass(frozen=True)
class ExportFile:
    """One exported file; `size` in bytes, None when it is not there any more."""

    name: str
    size: int | None
    readers: Sequence[str]


@dataclass(frozen=True)
class RunStory:
    """Everything the page shows."""

    name: str
    state: RunState
    step: int
    total_steps: int | None
    pivot_step: int | None
    ending: str
    notices: Sequence[str]
    metrics: Metrics
    samples: Sequence[SampleRow]
    exports: Sequence[ExportFile]
    plan: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]


def read_story(run: RunFolder) -> RunStory:
    """Read a run folder, finished or not."""
    events, plan = read_records(run.events_file), _read_object(run.plan_file)
    started = _last(events, "RunStarted")
    return RunStory(
        name=str(plan.get("name") or run.path.resolve().name),
        state=run.state(),
        step=run.last_step(),
        total_steps=started.get("total_steps", plan.get("steps")),
        pivot_step=started.get("pivot_step", plan.get("pivot_step")),
        ending=str(_last(events, "RunEnded").get("message") or ""),
        notices=list(dict.fromkeys(str(event.get("text")) for event in events if event["event"] == "Notice")),
        metrics=_metrics(read_records(run.metrics_file)),
        samples=_samples(run, events),
        exports=_exports(run, events),
        plan=plan,
        config=_read_object(run.config_file),
        environment=_read_object(run.environment_file),
    )


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value: Any = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]


def _last(events: Sequence[Record], kind: str) -> Record:
    nothing: Record = {}
    return next((event for event in reversed(events) if event["event"] == kind), nothing)


def _metrics(records: Sequence[Record]) -> Metrics:
    steps = [record for record in records if record["event"] == "StepDone"]
    validations = [record for record in records if record["event"] == "ValidationDone"]
    return Metrics(
        loss=_curve(steps, "loss"),
        instance_loss=_curve(steps, "instance_loss"),
        prior_loss=[point for point in _curve(steps, "prior_loss") if math.isfinite(point.value)],
        validation=_curve(validations, "loss"),
        rates=_curves_by_part(steps, "rates"),
        distances=_curves_by_part(steps, "distances"),
        seconds=sum(value for record in steps if math.isfinite(value := _number(record.get("seconds")))),
    )


def _curve(records: Sequence[Record], name: str) -> list[Point]:
    return [Point(_number(record.get("step")), _number(record.get(name))) for record in records]


def _curves_by_part(records: Sequence[Record], name: str) -> dict[str, list[Point]]:
    """A curve for each part that is ever named; it pauses at steps that do not name it."""
    by_step: list[tuple[float, dict[str, Any]]] = [
        (_number(record.get("step")), record.get(name) or {}) for record in records
    ]
    parts = dict.fromkeys(part for _, values in by_step for part in values)
    return {part: [Point(step, _number(values.get(part))) for step, values in by_step] for part in parts}


def _number(value: object) -> float:
    """A number, or NaN for what is none: null stands for a value that was not finite."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan


def _samples(run: RunFolder, events: Sequence[Record]) -> list[SampleRow]:
    """A row for each prompt and each of its pictures, over all steps that drew it; of a step told twice the last."""
    drawn = {event["step"]: event for event in events if event["event"] == "SamplesReady"}
    rows: dict[tuple[str, int], list[tuple[int, Path]]] = {}
    for step, event in sorted(drawn.items()):
        seen = dict[str, int]()
        for prompt, picture in zip(event["prompts"], event["pictures"], strict=False):
            seen[prompt] = seen.get(prompt, 0) + 1
            rows.setdefault((prompt, seen[prompt]), []).append((step, run.path / picture))
    return [SampleRow(prompt, pictures) for (prompt, _), pictures in rows.items()]


def _exports(run: RunFolder, events: Sequence[Record]) -> list[ExportFile]:
    written = {str(event["path"]): event.get("readers") or () for event in events if event["event"] == "ExportWritten"}
    return [_export(run.path / path, readers) for path, readers in written.items()]


def _export(path: Path, readers: Sequence[str]) -> ExportFile:
    return ExportFile(path.name, path.stat().st_size if path.is_file() else None, [str(reader) for reader in readers])
