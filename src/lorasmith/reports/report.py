"""Owns `report.html`: one page with everything in it, no script, nothing fetched, every name and caption escaped."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lorasmith import __version__
from lorasmith.atomic import write_text
from lorasmith.reports.charts import Chart, Line, Marker, Point, line_chart, smoothed
from lorasmith.reports.story import Metrics, RunStory, SampleRow, read_story
from lorasmith.reports.thumbnails import data_address
from lorasmith.reports.wording import (
    bytes_words,
    duration_words,
    flattened,
    joined,
    number_words,
    part_name,
    value_words,
)
from lorasmith.run_folder import RunFolder

_MOST_COLUMNS = 8
"""Steps shown for each prompt; of more, the first, the last and some evenly between."""

_PLAN_LABELS = {
    "base": "base",
    "resolution": "resolution",
    "instance_images": "instance images",
    "held_out_images": "held out",
    "class_images": "class images",
    "repeats": "repeats",
    "batch_size": "batch size",
    "gradient_accumulation": "gradient accumulation",
    "steps_per_epoch": "steps per epoch",
    "steps": "steps",
    "epochs": "epochs",
    "optimizer": "optimizer",
    "precision": "precision",
    "device": "device",
    "caches": "caches",
}


@dataclass(frozen=True)
class Tile:
    """One fact at the head of the page."""

    label: str
    value: str


@dataclass(frozen=True)
class PhaseRow:
    """One stretch of the run: its steps, its share of them in percent, and what trains at which rate."""

    name: str
    steps: str
    share: float
    trains: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Picture:
    """One validation picture in the page; `address` is None when its file cannot be read."""

    step: int
    address: str | None


def write_report(run: RunFolder) -> Path:
    """Write the page of a run, finished or not; its path."""
    write_text(run.report_file, render(read_story(run)))
    return run.report_file


def render(story: RunStory) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("lorasmith.reports"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("report.html.j2").render(
        story=story,
        tiles=tiles(story),
        charts=[Markup(line_chart(chart)) for chart in charts(story)],  # charts escape their labels
        plan=_plan_facts(story.plan),
        phases=phase_rows(story.plan),
        samples=_by_prompt(story.samples),
        exports=[
            (file.name, "missing" if file.size is None else bytes_words(file.size), joined(file.readers))
            for file in story.exports
        ],
        options=_options(story),
        machine=list(flattened({name: value for name, value in story.environment.items() if name != "origins"})),
        version=__version__,
    )


def tiles(story: RunStory) -> list[Tile]:
    """What one wants to know first."""
    metrics = story.metrics
    total = f" of {story.total_steps}" if story.total_steps else ""
    found = [
        Tile("steps", f"{story.step}{total}"),
        Tile("loss, smoothed", _last_value(_smooth(metrics.instance_loss))),
        Tile("held-out loss", _change(metrics.validation)),
        Tile("pivot at step", value_words(story.pivot_step)),
        Tile("time in steps", duration_words(metrics.seconds)),
        Tile("seconds a step", number_words(metrics.seconds / len(metrics.loss) if metrics.loss else math.nan)),
    ]
    return [tile for tile in found if tile.value not in ("none", "unknown")]


def charts(story: RunStory) -> list[Chart]:
    """The charts there are numbers for, each with the pivot marked."""
    metrics = story.metrics
    marker = Marker(story.pivot_step, "pivot") if story.pivot_step else None
    found = [
        _loss_chart(metrics, marker),
        Chart("Held-out loss, fixed noise", [Line("held-out", metrics.validation, "dots", 2)], marker),
        _parts_chart("Effective rate (d·lr under Prodigy)", metrics.rates, marker, log=True),
    ]
    if metrics.distances != metrics.rates:  # at Prodigy's usual rate of 1 the two are the same
        found.append(_parts_chart("Prodigy's estimate d", metrics.distances, marker, log=True))
    span = (1.0, float(max(story.step, story.total_steps or 1)))
    return [replace(chart, span=span) for chart in found if any(line.points for line in chart.lines)]


def phase_rows(plan: Mapping[str, Any]) -> list[PhaseRow]:
    """The plan's phases; none when the plan has none."""
    phases: Sequence[Mapping[str, Any]] = plan.get("phases") or ()
    total = max((phase["end"] for phase in phases), default=0)
    return [
        PhaseRow(
            name=str(phase["name"]),
            steps=f"{phase['first'] + 1} to {phase['end']}",
            share=100 * (phase["end"] - phase["first"]) / total,
            trains=[(part_name(part), number_words(float(rate))) for part, rate in phase["rates"].items()],
        )
        for phase in phases
        if phase["end"] > phase["first"]
    ]


def pictures_of(row: SampleRow) -> list[Picture]:
    """A row's thumbnails, thinned out to what fits on the page."""
    count = len(row.pictures)
    places = range(count) if count <= _MOST_COLUMNS else _spread(count, _MOST_COLUMNS)
    return [Picture(row.pictures[place][0], data_address(row.pictures[place][1])) for place in places]


def _plan_facts(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The plan's numbers with their labels; of a local base only the folder's name."""
    shown = {
        **plan,
        **({"base": Path(str(plan["base"])).name} if Path(str(plan.get("base", ""))).is_absolute() else {}),
    }
    return [(label, value_words(shown[key])) for key, label in _PLAN_LABELS.items() if key in shown]


def _by_prompt(rows: Sequence[SampleRow]) -> dict[str, list[list[Picture]]]:
    """Each prompt once, with its rows of pictures."""
    prompts: dict[str, list[list[Picture]]] = {}
    for row in rows:
        prompts.setdefault(row.prompt, []).append(pictures_of(row))
    return prompts


def _loss_chart(metrics: Metrics, marker: Marker | None) -> Chart:
    lines = [Line("each step", metrics.instance_loss, "raw"), Line("smoothed", _smooth(metrics.instance_loss))]
    if metrics.prior_loss:
        lines.append(Line("class images, smoothed", _smooth(metrics.prior_loss), colour=1))
    return Chart("Training loss", lines, marker)


def _parts_chart(title: str, curves: Mapping[str, Sequence[Point]], marker: Marker | None, *, log: bool) -> Chart:
    named = enumerate(curves.items())
    return Chart(title, [Line(part_name(part), points, colour=index) for index, (part, points) in named], marker, log)


def _smooth(points: Sequence[Point]) -> list[Point]:
    return smoothed(points, half_life=max(3.0, len(points) / 25))


def _last_value(points: Sequence[Point]) -> str:
    return number_words(points[-1].value) if points else "none"


def _change(points: Sequence[Point]) -> str:
    """First and last, as in `0.21 → 0.18`."""
    finite = [point.value for point in points if math.isfinite(point.value)]
    if len(finite) < 2:
        return number_words(finite[0]) if finite else "none"
    return f"{number_words(finite[0])} → {number_words(finite[-1])}"


def _spread(count: int, wanted: int) -> list[int]:
    return sorted({round(index * (count - 1) / (wanted - 1)) for index in range(wanted)})


def _options(story: RunStory) -> list[tuple[str, str, str]]:
    """Each option, its value and where it was said; `default` where nobody said it."""
    said = cast(object, story.environment.get("origins"))
    origins: Mapping[str, object] = cast(Mapping[str, object], said) if isinstance(said, dict) else dict[str, object]()
    return [(name, value, str(origins.get(name, ""))) for name, value in flattened(story.config)]
