"""Owns the report on evaluations: one page with everything in it, no script, nothing fetched, every word escaped."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lorasmith import __version__
from lorasmith.atomic import write_text
from lorasmith.errors import ConfigError
from lorasmith.evaluation.intervals import Estimate
from lorasmith.evaluation.scores import EXPLAINED, CurvePoint, Evaluation, Explained, ScoreName, across_concepts
from lorasmith.reports.charts import Chart, Line, Point, line_chart
from lorasmith.reports.thumbnails import address_of
from lorasmith.reports.wording import duration_words, joined

_MOST_PICTURES: Final = 4
"""Pictures of one prompt that are shown for each export."""
_MARK: Final = '<meta name="generator" content="lorasmith evaluate">'
"""In the head of each page, so that the next one knows what it may replace."""


@dataclass(frozen=True)
class Cell:
    """One export's number in the table, in words; empty where it could not be measured."""

    value: str = ""
    interval: str = ""
    base: str = ""
    ceiling: str = ""
    measured_on: str = ""


@dataclass(frozen=True)
class ScoreRow:
    """One score of all exports."""

    explained: Explained
    cells: Sequence[Cell]
    across: Cell | None = None
    """The mean over concepts, where there are several."""


@dataclass(frozen=True)
class Shown:
    """A picture in the page: its address, and whether it is right (None: nobody knows)."""

    address: str
    verdict: bool | None = None


@dataclass(frozen=True)
class PromptRow:
    """One prompt: the true picture, the base's, and each export's."""

    prompt: str
    truth: Shown | None
    base: Sequence[Shown]
    drawn: Sequence[Sequence[Shown]]


def write_report(evaluations: Sequence[Evaluation], path: Path) -> Path:
    """Write the page of one or several evaluations; refuses to replace a file that is not such a page."""
    refuse_foreign(path)
    write_text(path, render(evaluations))
    return path


def refuse_foreign(path: Path) -> None:
    """ConfigError when `path` is a file that somebody else wrote."""
    if path.is_dir() or (path.exists() and _MARK.encode() not in path.read_bytes()[:2000]):
        raise ConfigError(f"{path} is not a report of ours", where="--out", remedy="Name another file.")


def render(evaluations: Sequence[Evaluation]) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("lorasmith.evaluation"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("evaluation.html.j2").render(
        mark=Markup(_MARK),
        title=joined(dict.fromkeys(one.name for one in evaluations)),
        evaluations=evaluations,
        labels=_labels(evaluations),
        rows=score_rows(evaluations),
        factors=_factor_rows(evaluations),
        charts=[Markup(line_chart(chart)) for chart in _charts(evaluations)],  # charts escape their labels
        prompts=_prompt_rows(evaluations),
        facts=[_facts(one) for one in evaluations],
        version=__version__,
    )


def score_rows(evaluations: Sequence[Evaluation]) -> list[ScoreRow]:
    """Every score that at least one evaluation has, in the order of telling."""
    there: list[ScoreName] = [name for name in EXPLAINED if any(one.find(name) for one in evaluations)]
    across = {
        name: Cell(in_words(one.value), interval_in_words(one), measured_on=f"mean over {one.groups} concepts")
        for name, one in across_concepts(evaluations).items()
    }
    return [ScoreRow(EXPLAINED[name], [_cell(one, name) for one in evaluations], across.get(name)) for name in there]


def in_words(value: float | None) -> str:
    """A score in two decimals."""
    return "" if value is None or not math.isfinite(value) else f"{value:.2f}".replace("-0.00", "0.00")


def interval_in_words(estimate: Estimate) -> str:
    """`0.50 to 0.73`; empty where nothing says anything of spread."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{in_words(estimate.low)} to {in_words(estimate.high)}"


def _labels(evaluations: Sequence[Evaluation]) -> list[str]:
    """Names of the columns; equal names are numbered."""
    names = [one.name for one in evaluations]
    return [
        f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
        for place, name in enumerate(names)
    ]


def _cell(evaluation: Evaluation, name: ScoreName) -> Cell:
    score = evaluation.find(name)
    if score is None:
        return Cell()
    return Cell(
        in_words(score.estimate.value),
        interval_in_words(score.estimate),
        in_words(score.base),
        in_words(score.ceiling),
        score.measured_on,
    )


def _factor_rows(evaluations: Sequence[Evaluation]) -> list[tuple[str, list[Cell]]]:
    names = dict.fromkeys(factor for one in evaluations for factor, _ in one.factors)
    by_name = [dict(one.factors) for one in evaluations]
    return [
        (
            name,
            [
                Cell(in_words(found[name].value), interval_in_words(found[name])) if name in found else Cell()
                for found in by_name
            ],
        )
        for name in names
    ]


def _charts(evaluations: Sequence[Evaluation]) -> list[Chart]:
    measures: dict[str, Callable[[CurvePoint], float | None]] = {
        "Joint score over adapter scale": lambda point: point.joint,
        "Concept fidelity over adapter scale": lambda point: point.fidelity,
        "Prompt following over adapter scale": lambda point: point.prompt_following,
        "Concept without its token over adapter scale": lambda point: point.class_word_identity,
        "Likeness to the instance images over adapter scale": lambda point: point.likeness,
        "Change of the class word over adapter scale": lambda point: point.change,
    }
    labels = _labels(evaluations)
    charts = [
        Chart(
            title,
            [_line(label, one, of, place) for place, (label, one) in enumerate(zip(labels, evaluations, strict=True))],
        )
        for title, of in measures.items()
    ]
    return [chart for chart in charts if any(line.points for line in chart.lines)]


def _line(label: str, evaluation: Evaluation, of: Callable[[CurvePoint], float | None], place: int) -> Line:
    found = [(point.scale, of(point)) for point in evaluation.curve]
    return Line(label, [Point(scale, value) for scale, value in found if value is not None], "dots", place % 5)


def _prompt_rows(evaluations: Sequence[Evaluation]) -> list[PromptRow]:
    """Prompts that all exports share in one row; those of other concepts in rows of their own."""
    prompts = dict.fromkeys(row.prompt for one in evaluations for row in one.rows)
    found = [{row.prompt: row for row in one.rows} for one in evaluations]
    rows = list[PromptRow]()
    for prompt in prompts:
        first = next(by_prompt[prompt] for by_prompt in found if prompt in by_prompt)
        truth = Shown(address_of(first.truth)) if first.truth is not None else None
        rows.append(
            PromptRow(
                prompt,
                truth,
                _shown(first.base, ()),
                [
                    _shown(by_prompt[prompt].drawn, by_prompt[prompt].verdicts) if prompt in by_prompt else []
                    for by_prompt in found
                ],
            )
        )
    return rows


def _shown(pictures: Sequence[Image.Image], verdicts: Sequence[bool | None]) -> list[Shown]:
    known = [*verdicts, *[None] * len(pictures)]
    return [Shown(address_of(picture), known[place]) for place, picture in enumerate(pictures[:_MOST_PICTURES])]


def _facts(one: Evaluation) -> list[tuple[str, str]]:
    return [
        ("concept", one.concept or "not known"),
        ("base", one.base),
        ("adapter scale", f"{one.scale:g}"),
        ("read by", one.read_by),
        ("pictures", f"{one.drawn} drawn, {one.kept} kept from before, {duration_words(one.seconds)}"),
    ]
