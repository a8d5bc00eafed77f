"""Owns whether pictures repeat: copies of instance images, sameness over seeds; refuses to look at pictures."""

import math
from collections.abc import Hashable, Sequence
from typing import Final

import numpy as np

from lorasmith.evaluation.intervals import Estimate, Floats, mean_of

COPY_RATIO: Final = 1 / 3
"""A picture this many times nearer to one instance image than to the next is a copy (arXiv 2505.17638, section 3)."""


def distances(one: Floats, other: Floats) -> Floats:
    """Root mean squared differences [n, m] of rows [n, width] and [m, width]."""
    squares = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1)[None] - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0) / one.shape[1])


def copied(to_instances: Floats) -> list[bool]:
    """For each picture, from distances [pictures, instance images], whether one image is far nearer than the next."""
    if to_instances.shape[1] < 2:
        raise ValueError("copies are told by the second-nearest instance image, so there have to be two")
    nearest = np.sort(to_instances, axis=1)
    return [bool(first < COPY_RATIO * second) for first, second in nearest[:, :2]]


def copied_share(to_instances: Floats, groups: Sequence[Hashable]) -> Estimate:
    """The share of pictures that are copies."""
    return mean_of([float(one) for one in copied(to_instances)], groups, is_share=True)


def copy_gap(to_instances: Floats, to_held_out: Floats, groups: Sequence[Hashable]) -> Estimate:
    """How much nearer pictures are to what was trained on than to what was held out; 0: no nearer.

    `to_instances` [pictures, n] and `to_held_out` [sets, pictures, n]: sets of as many held-out pictures, so that
    more of them are not nearer by number alone. In units of the distance to the held-out ones.
    """
    nearest = to_instances.min(axis=1)
    expected = to_held_out.min(axis=2).mean(axis=0)
    gaps = (expected - nearest) / np.maximum(expected, 1e-12)
    return mean_of([float(gap) for gap in gaps], groups)


def mean_pairwise_distance(rows: Floats) -> float:
    """The mean distance between two different pictures [n, width]; NaN for a single one."""
    count = len(rows)
    return float(distances(rows, rows).sum() / (count * (count - 1))) if count > 1 else math.nan


def vendi_score(rows: Floats, *, scale: float) -> float:
    """How many truly different pictures there are among rows [n, width]: 1 to n.

    The Vendi score (Friedman and Dieng 2023, arXiv 2210.02410). Two pictures at distance d are
    alike by exp(−(d ÷ scale)²).
    """
    alike = np.exp(-((distances(rows, rows) / scale) ** 2))
    np.fill_diagonal(alike, 1.0)
    shares = np.linalg.eigvalsh(alike / len(rows))
    kept = shares[shares > 1e-12]
    return float(np.exp(-(kept * np.log(kept)).sum()))


def entropy(values: Sequence[str]) -> float:
    """Shannon entropy of a sample of values, in nats."""
    shares = [values.count(value) / len(values) for value in set(values)]
    return -sum(share * math.log(share) for share in shares)
