"""Owns paired differences over concepts and seeds with their intervals; refuses to know what the numbers measure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np

from lorasmith.evaluation.intervals import CONFIDENCE, Floats, students_t

ByConcept = Mapping[str, Sequence[float]]

_RESAMPLES: Final = 4000


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean over concepts and the ends of its 95 % interval; the ends are None with fewer than two concepts."""

    mean: float
    low: float | None
    high: float | None
    concepts: int
    values: int

    @property
    def excludes_zero(self) -> bool:
        """Whether all of the interval lies on one side of zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


def mean_over_concepts(values: ByConcept, *, seed: int = 0) -> Interval:
    """The mean of the concepts' means: a concept with more seeds does not count more.

    The interval is a bootstrap over concepts, and within each concept over its seeds: what other concepts and other
    seeds would give. Its half-widths are those of Student's t where there are few concepts (percentiles alone are too
    narrow: Hesterberg 2015, arXiv 1411.5279, section 6.1). ValueError without any value.
    """
    rows = [np.asarray(own, dtype=np.float64) for own in values.values() if len(own)]
    if not rows:
        raise ValueError("there is nothing to average")
    return _interval(_mean(rows), _resampled(rows, seed), rows)


def share_over_concepts(parts: ByConcept, wholes: ByConcept, *, seed: int = 0) -> Interval:
    """The mean of `parts` as a share of the mean of `wholes`; both have the same concepts and seeds.

    A share of means: concepts whose whole is next to nothing do not decide, as they would in a mean of shares. The
    interval as in `mean_over_concepts`. ValueError without any value, or where the wholes sum to nothing.
    """
    pairs = [(np.asarray(parts[name], dtype=np.float64), np.asarray(wholes[name], dtype=np.float64)) for name in parts]
    own, all_of = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    if not pairs or _mean(all_of) == 0.0:
        raise ValueError("there is nothing to take a share of")
    with np.errstate(divide="ignore", invalid="ignore"):  # a resampling may hold nothing but concepts without a whole
        shares = _resampled(own, seed) / _resampled(all_of, seed)
    return _interval(_mean(own) / _mean(all_of), shares[np.isfinite(shares)], own)


def paired_difference(
    arm: Mapping[tuple[str, int], float], reference: Mapping[tuple[str, int], float], *, seed: int = 0
) -> Interval | None:
    """The mean of `arm − reference` over the (concept, seed) that both have; None when there is none."""
    differences: dict[str, list[float]] = {}
    for concept, run in sorted(arm.keys() & reference.keys()):
        differences.setdefault(concept, []).append(arm[concept, run] - reference[concept, run])
    return mean_over_concepts(differences, seed=seed) if differences else None


def by_concept(values: Mapping[tuple[str, int], float]) -> dict[str, list[float]]:
    """Values by (concept, seed), gathered by concept."""
    gathered: dict[str, list[float]] = {}
    for (concept, _), value in sorted(values.items()):
        gathered.setdefault(concept, []).append(value)
    return gathered


def _mean(rows: Sequence[Floats]) -> float:
    return float(np.mean([row.mean() for row in rows]))


def _interval(mean: float, resampled: Floats, rows: Sequence[Floats]) -> Interval:
    count, total = len(rows), sum(len(row) for row in rows)
    if count < 2:
        return Interval(mean, None, None, count, total)
    low, high = np.quantile(resampled, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    wider = _widening(count)
    return Interval(mean, mean + (float(low) - mean) * wider, mean + (float(high) - mean) * wider, count, total)


def _resampled(rows: Sequence[Floats], seed: int) -> Floats:
    """Means of resampled concepts, each concept's mean taken over its resampled seeds [resamples]."""
    chance = np.random.default_rng(seed)
    count = len(rows)
    chosen = chance.integers(count, size=_RESAMPLES * count)
    times = np.bincount(chosen, minlength=count)
    means = np.empty(len(chosen))
    for row, places in zip(rows, np.split(np.argsort(chosen, kind="stable"), np.cumsum(times)[:-1]), strict=True):
        picks = chance.integers(len(row), size=(len(places), len(row)))
        means[places] = row[picks].mean(axis=1)
    return means.reshape(_RESAMPLES, count).mean(axis=1)


def _widening(groups: int) -> float:
    """What a bootstrap's half-width over a few groups has to grow by: √(n ÷ (n−1)) · t ÷ z."""
    z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
    return math.sqrt(groups / (groups - 1)) * students_t(groups - 1) / z
