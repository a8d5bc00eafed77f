"""Owns the tables of experiments: means, paired differences with intervals, what is missing; trains nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lorasmith.data.wording import counted
from lorasmith.evaluation.paired import Interval, by_concept, mean_over_concepts, paired_difference
from lorasmith.runs.experiments import ExperimentPlan, read_plans
from lorasmith.runs.trials import Ledger, TrialRecord

COLUMNS: Final[Mapping[str, str]] = {
    "joint": "joint",
    "fidelity": "identity",
    "prompt_following": "prompt following",
    "embedding_drift": "drift",
    "leakage": "leakage",
    "copy_gap": "copying",
    "variety": "diversity",
}
"""Scores that the tables show, and what they call them."""


@dataclass(frozen=True)
class Cell:
    """A score of an arm: its mean, and how it differs from the reference arm's on the same concepts and seeds."""

    mean: Interval
    difference: Interval | None


@dataclass(frozen=True)
class Row:
    """One arm: its scores by name, and of how many trials; some may be missing or have failed."""

    arm: str
    is_reference: bool
    cells: Mapping[str, Cell]
    done: int
    planned: int
    failed: int


@dataclass(frozen=True)
class Table:
    """One experiment's answer so far."""

    plan: ExperimentPlan
    rows: tuple[Row, ...]

    @property
    def missing(self) -> int:
        """Trials that are not done yet."""
        return sum(row.planned - row.done - row.failed for row in self.rows)

    @property
    def scores(self) -> tuple[str, ...]:
        """The scores that any arm has, the primary one first."""
        there = [name for name in COLUMNS if any(name in row.cells for row in self.rows)]
        primary = [self.plan.primary] if any(self.plan.primary in row.cells for row in self.rows) else []
        return tuple(dict.fromkeys([*primary, *there]))


def tables_of(folder: Path) -> list[Table]:
    """A table for each experiment that was run into a folder."""
    done = Ledger(folder).done()
    return [table_of(plan, done) for plan in read_plans(folder)]


def table_of(plan: ExperimentPlan, done: Mapping[str, TrialRecord]) -> Table:
    """One experiment's table from the trials that are done."""
    reference = _scores_of(plan, plan.reference, done)
    return Table(plan, tuple(_row(plan, arm, done, reference) for arm in plan.arms))


def as_markdown(table: Table) -> str:
    """The table for a page: each arm's mean, and the paired difference with its 95 % interval."""
    scores = table.scores
    heading = ["arm", *(COLUMNS.get(score, score.replace("_", " ")) for score in scores), "trials"]
    lines = [
        f"### {_escaped(table.plan.question)}",
        "",
        _row_text(heading),
        _row_text(["---", *["---"] * (len(scores) + 1)]),
        *(_row_text(list(_texts(row, scores))) for row in table.rows),
        "",
        _foot(table),
    ]
    return "\n".join(lines) + "\n"


def _row(
    plan: ExperimentPlan,
    arm: str,
    done: Mapping[str, TrialRecord],
    reference: Mapping[str, Mapping[tuple[str, int], float]],
) -> Row:
    keys = [trial.key for trial in plan.trials if trial.arm == arm]
    own = _scores_of(plan, arm, done)
    is_reference = arm == plan.reference
    return Row(
        arm=arm,
        is_reference=is_reference,
        cells={
            score: Cell(
                mean_over_concepts(by_concept(values)),
                None if is_reference else paired_difference(values, reference.get(score, {})),
            )
            for score, values in own.items()
        },
        done=sum(key in done and done[key].failed is None for key in keys),
        planned=len(keys),
        failed=sum(key in done and done[key].failed is not None for key in keys),
    )


def _scores_of(
    plan: ExperimentPlan, arm: str, done: Mapping[str, TrialRecord]
) -> dict[str, dict[tuple[str, int], float]]:
    """An arm's scores by name, each by (concept, seed)."""
    found: dict[str, dict[tuple[str, int], float]] = {}
    for trial in plan.trials:
        record = done.get(trial.key)
        if trial.arm == arm and record is not None and record.failed is None:
            for score, value in record.scores.items():
                found.setdefault(score, {})[trial.concept, trial.seed] = value
    return found


def _texts(row: Row, scores: Sequence[str]) -> Iterator[str]:
    yield f"**{_escaped(row.arm)}**" if row.is_reference else _escaped(row.arm)
    for score in scores:
        yield _cell_text(row.cells.get(score))
    failed = f", {row.failed} failed" if row.failed else ""
    yield f"{row.done} of {row.planned}{failed}"


def _cell_text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    if cell.difference is None:
        return f"{cell.mean.mean:.3f}"
    return f"{cell.mean.mean:.3f} ({_difference_text(cell.difference)})"


def _difference_text(difference: Interval) -> str:
    """`+0.04, −0.01 … +0.09`; bold where the interval leaves zero out."""
    if difference.low is None or difference.high is None:
        return f"{_signed(difference.mean)}, one concept"
    text = f"{_signed(difference.mean)}, {_signed(difference.low)} … {_signed(difference.high)}"
    return f"**{text}**" if difference.excludes_zero else text


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _foot(table: Table) -> str:
    concepts = len({trial.concept for trial in table.plan.trials})
    seeds = len({trial.seed for trial in table.plan.trials})
    measured_on = (
        f"{counted(concepts, 'concept')} × {counted(seeds, 'seed')}, each pictures and noise of "
        "its own. In brackets: the difference from "
        f"**{_escaped(table.plan.reference)}** on the same concepts and seeds, with its 95 % interval (bootstrap over "
        "concepts and over seeds within each); bold where zero is outside."
    )
    are = "is" if table.missing == 1 else "are"
    missing = f" {counted(table.missing, 'trial')} {are} missing." if table.missing else ""
    return f"{measured_on} Decided by {COLUMNS.get(table.plan.primary, table.plan.primary)}.{missing}"


def _row_text(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
