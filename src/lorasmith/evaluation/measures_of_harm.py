"""Owns what a concept did to the rest: leakage of instance images, drift of language; refuses to look at pictures."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from lorasmith.evaluation.intervals import Estimate, Floats, estimate, mean_of

_SWAPS = 200


@dataclass(frozen=True)
class Leak:
    """How much one factor of the instance images shows unasked.

    `frequency` is how often a picture has the value of an instance image picked at random, `base_frequency` the same
    with the base alone, `log_odds` the logarithm of the ratio of their odds: 0 is no leak.
    """

    factor: str
    frequency: float
    base_frequency: float
    log_odds: Estimate


def leak(factor: str, drawn: Sequence[str], base: Sequence[str], instance: Sequence[str]) -> Leak:
    """The leak of one factor into pictures drawn without asking for it; `base` has the same seeds without adapter."""
    shares = {value: instance.count(value) / len(instance) for value in set(instance)}
    rows = np.array([[shares.get(one, 0.0) for one in values] for values in (drawn, base)], dtype=np.float64).T
    frequency, base_frequency = (float(mean) for mean in rows.mean(axis=0))
    return Leak(factor, frequency, base_frequency, estimate(rows, range(len(rows)), _log_odds_ratio))


def mean_leak(leaks: Sequence[Leak]) -> float:
    """The log-odds averaged over factors."""
    return fmean(one.log_odds.value for one in leaks)


def total_variation(one: Sequence[str], other: Sequence[str]) -> float:
    """Half the summed difference of two samples' frequencies: 0 the same, 1 nothing in common."""
    return sum(abs(one.count(v) / len(one) - other.count(v) / len(other)) for v in {*one, *other}) / 2


def drift_of_factor(drawn: Sequence[str], base: Sequence[str]) -> float:
    """Total variation at equal seeds, less what chance alone gives (mean over swaps within pairs).

    Two samples of one distribution never agree to the picture; pictures that did not change at all swap to themselves.
    """
    chance = np.random.default_rng(0)
    flips = chance.integers(2, size=(_SWAPS, len(drawn))).tolist()
    swapped = [_swapped_variation(drawn, base, flip) for flip in flips]
    return total_variation(drawn, base) - fmean(swapped)


def drift_of_factors(
    drawn: Sequence[Mapping[str, str]], base: Sequence[Mapping[str, str]], factors: Sequence[str]
) -> float:
    """`drift_of_factor` averaged over the factors that a prompt left unsaid."""
    return fmean(drift_of_factor([one[name] for one in drawn], [one[name] for one in base]) for name in factors)


def drift_of_embeddings(drawn: Floats, base: Floats, *, groups: Sequence[object]) -> Estimate:
    """1 − cosine between pictures [n, width] with the adapter and without it at equal seeds: 0 is the same picture."""
    norms = np.linalg.norm(drawn, axis=1) * np.linalg.norm(base, axis=1)
    cosines = (drawn * base).sum(axis=1) / np.maximum(norms, 1e-12)
    return mean_of([float(1 - cosine) for cosine in cosines], list(map(str, groups)))


def _log_odds_ratio(rows: Floats) -> float:
    """From mean frequencies [n, 2]; half a picture is added on either side, so that none and all stay finite."""
    count = len(rows)
    drawn, base = (float(total) for total in rows.sum(axis=0))
    return math.log((drawn + 0.5) / (count - drawn + 0.5)) - math.log((base + 0.5) / (count - base + 0.5))


def _swapped_variation(drawn: Sequence[str], base: Sequence[str], flips: Sequence[int]) -> float:
    pairs = [(one, other) if flip else (other, one) for one, other, flip in zip(drawn, base, flips, strict=True)]
    return total_variation([one for one, _ in pairs], [other for _, other in pairs])
