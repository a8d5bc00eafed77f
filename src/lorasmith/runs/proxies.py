"""Owns how far the usual scores agree with the truth over the trials in a folder; scores nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from lorasmith.data.wording import counted
from lorasmith.errors import DataError
from lorasmith.evaluation.paired import Interval, mean_over_concepts
from lorasmith.runs.trials import Ledger, Scores, TrialRecord

Floats = npt.NDArray[np.float64]

PROXIES: Final[Mapping[str, str]] = {
    "instance_similarity": "CLIP-I (likeness to the instance images)",
    "text_similarity": "CLIP-T (likeness to the prompt)",
    "both": "CLIP-I × CLIP-T",
    "held_out_loss": "held-out loss, negated",
}
"""Scores that need no truth, and what the table calls them."""
TRUTHS: Final[Mapping[str, str]] = {
    "joint": "joint",
    "fidelity": "identity",
    "prompt_following": "prompt following",
}
_LEAST_TRIALS: Final = 5
"""A concept with fewer says nothing of order."""


@dataclass(frozen=True)
class Agreement:
    """Spearman's correlation of a proxy with each truth, by the truth's name: the mean over concepts."""

    proxy: str
    with_truth: Mapping[str, Interval]


def agreements(folder: Path) -> list[Agreement]:
    """How each proxy orders the trials of one concept, against how the truth orders them.

    DataError where no concept has trials enough.
    """
    by_concept = _by_concept(Ledger(folder).done().values())
    if not by_concept:
        raise DataError(
            f"no concept in {folder} has {_LEAST_TRIALS} trials with CLIP's scores", remedy="Run an experiment first."
        )
    found = (Agreement(proxy, dict(_with_truths(proxy, by_concept))) for proxy in PROXIES)
    return [one for one in found if one.with_truth]


def as_markdown(found: Sequence[Agreement]) -> str:
    """The table for a page."""
    heading = ["proxy", *TRUTHS.values()]
    lines = [_row(heading), _row(["---"] * len(heading))]
    lines += [_row([PROXIES[one.proxy], *(_cell(one.with_truth.get(truth)) for truth in TRUTHS)]) for one in found]
    counts = [interval for one in found for interval in one.with_truth.values()]
    concepts = max((interval.concepts for interval in counts), default=0)
    told = (
        f"Spearman's rank correlation over all trials of one concept, the mean over {counted(concepts, 'concept')} "
        "with its 95 % interval. 1: the proxy orders trainings as the truth does; 0: it says nothing of them; below 0: "
        "it misleads."
    )
    return "\n".join([*lines, "", told]) + "\n"


def rank_correlation(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Spearman's ρ, ties at their mean rank; None where either is the same all through."""
    first, second = _ranks(np.asarray(one, dtype=np.float64)), _ranks(np.asarray(other, dtype=np.float64))
    if first.std() == 0 or second.std() == 0:
        return None
    return float(np.corrcoef(first, second)[0, 1])


def _by_concept(records: Iterable[TrialRecord]) -> dict[str, list[Scores]]:
    """The scores of trials and of their checkpoints, of concepts that have enough of them."""
    gathered: dict[str, list[Scores]] = {}
    for record in records:
        for scores in (record.scores, *(checkpoint.scores for checkpoint in record.checkpoints)):
            if {"instance_similarity", "text_similarity"} <= scores.keys():
                gathered.setdefault(record.concept, []).append(scores)
    return {concept: rows for concept, rows in gathered.items() if len(rows) >= _LEAST_TRIALS}


def _with_truths(proxy: str, by_concept: Mapping[str, Sequence[Scores]]) -> Iterator[tuple[str, Interval]]:
    for truth in TRUTHS:
        correlations = {concept: _correlation(proxy, truth, rows) for concept, rows in sorted(by_concept.items())}
        known = {concept: [value] for concept, value in correlations.items() if value is not None}
        if known:
            yield truth, mean_over_concepts(known)


def _correlation(proxy: str, truth: str, rows: Sequence[Scores]) -> float | None:
    pairs = [(_proxy_of(proxy, scores), scores.get(truth)) for scores in rows]
    both = [(one, other) for one, other in pairs if one is not None and other is not None]
    if len(both) < _LEAST_TRIALS:
        return None
    return rank_correlation([one for one, _ in both], [other for _, other in both])


def _proxy_of(proxy: str, scores: Scores) -> float | None:
    """The proxy's number, higher for better."""
    match proxy:
        case "both":
            return scores["instance_similarity"] * scores["text_similarity"]
        case "held_out_loss":
            return -scores[proxy] if proxy in scores else None
        case _:
            return scores.get(proxy)


def _ranks(values: Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(len(values))
    _, group = np.unique(values, return_inverse=True)
    return (np.bincount(group, ranks) / np.bincount(group))[group]


def _cell(interval: Interval | None) -> str:
    if interval is None:
        return "–"
    if interval.low is None or interval.high is None:
        return f"{interval.mean:+.2f}"
    return f"{interval.mean:+.2f} ({interval.low:+.2f} … {min(1.0, interval.high):+.2f})".replace("-", "−")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
