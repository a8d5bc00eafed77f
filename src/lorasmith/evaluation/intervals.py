"""Owns how sure a score is: bootstrap over groups that were drawn together; refuses to call single pictures groups."""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], float]

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Estimate:
    """A score with the ends of its 95 % interval, and over how many groups (prompts, concepts, seeds) it was taken.

    The ends are None where one group, or none, says nothing about spread.
    """

    value: float
    low: float | None
    high: float | None
    groups: int


def mean_of(values: Sequence[float], groups: Sequence[Hashable], *, is_share: bool = False) -> Estimate:
    """The mean of `values`, each belonging to the group beside it; `is_share` says they all lie within 0 and 1."""
    column = np.asarray(values, dtype=np.float64).reshape(-1, 1)
    return estimate(column, groups, lambda rows: float(rows[:, 0].mean()), is_share=is_share)


def estimate(
    rows: Floats, groups: Sequence[Hashable], statistic: Statistic, *, is_share: bool = False, seed: int = 0
) -> Estimate:
    """`statistic` of `rows` [n, k], and its interval from drawing whole groups of rows again, with replacement.

    Percentiles are widened for few groups as Student's t is (Hesterberg 2015, arXiv 1411.5279, section 6.1). A share
    that is 0 or 1 in every group shows no spread: its far end is then the exact binomial one over groups.
    """
    if len(rows) != len(groups):
        raise ValueError(f"{len(rows)} rows and {len(groups)} groups")
    if not len(rows):
        return Estimate(math.nan, None, None, 0)
    value = statistic(rows)
    places = _places_by_group(groups)
    count = len(places)
    if count < 2 or not math.isfinite(value):
        return Estimate(value, None, None, count)
    if is_share and value in (0.0, 1.0):
        far = (_tail()) ** (1 / count)
        return Estimate(value, far if value else 0.0, 1.0 if value else 1 - far, count)
    low, high = np.quantile(_resampled(rows, places, statistic, seed), _widened_percentiles(count))
    return Estimate(value, float(low), float(high), count)


def students_t(freedom: int) -> float:
    """Student's t that a 95 % interval reaches to, from the normal quantile (Abramowitz and Stegun, 26.7.5)."""
    z = NormalDist().inv_cdf(1 - _tail())
    if freedom == 1:
        return math.tan(math.pi * (0.5 - _tail()))
    if freedom == 2:
        share = 1 - 2 * _tail()
        return share * math.sqrt(2 / (1 - share * share))
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom ** (power + 1) for power, term in enumerate(terms))


def _places_by_group(groups: Sequence[Hashable]) -> list[npt.NDArray[np.intp]]:
    found: dict[Hashable, list[int]] = {}
    for place, group in enumerate(groups):
        found.setdefault(group, []).append(place)
    return [np.array(places, dtype=np.intp) for places in found.values()]


def _resampled(rows: Floats, places: Sequence[npt.NDArray[np.intp]], statistic: Statistic, seed: int) -> Floats:
    chance = np.random.default_rng(seed)
    picks = chance.integers(len(places), size=(_RESAMPLES, len(places)))
    drawn = (statistic(rows[np.concatenate([places[int(group)] for group in pick])]) for pick in picks)
    return np.fromiter(drawn, dtype=np.float64, count=_RESAMPLES)


def _tail() -> float:
    return (1 - CONFIDENCE) / 2


def _widened_percentiles(groups: int) -> tuple[float, float]:
    """Φ(−√(n ÷ (n−1))·t): a normal percentile grown to Student's t and to the unbiased standard deviation."""
    tail = NormalDist().cdf(-math.sqrt(groups / (groups - 1)) * students_t(groups - 1))
    return tail, 1 - tail
