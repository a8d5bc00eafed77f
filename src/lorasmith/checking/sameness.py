"""Owns whether the pictures of a folder differ where they should: in what is behind the subject and in how it stands.

What a picture has all through is learnt as part of the concept, and comes back in every picture drawn with it.
"""
# numpy's functions are only partly typed.
# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lorasmith.checking.measures import PARTS, THUMB, Measures

SAME_BACKGROUND = 25.0
"""Levels of 255. Folders with one background have 1 to 20, with backgrounds of their own 50 and more."""
SAME_POSE = 0.38
"""Correlation of outlines. One pose gives 0.4 to 0.9, several give 0 to 0.3 (symmetrical things more)."""
FEWEST = 3
"""Of fewer pictures nothing can be said about all."""
_CELLS = 16
_RING = 2
_MOST = 400
"""Of more pictures, so many evenly between stand for all: pairs grow with the square."""

Grids = NDArray[np.float64]


@dataclass(frozen=True)
class Sameness:
    """How much pictures differ, as the median over all pairs of them."""

    background: float
    """Mean difference along the four sides, in levels of 255."""
    outlines: float
    """Correlation of where there is something to see, −1…1."""


def sameness_of(measures: Sequence[Measures]) -> Sameness | None:
    """How much the pictures differ; None when they are too few."""
    if len(measures) < FEWEST:
        return None
    chosen = [measures[place] for place in _spread(len(measures))]
    colours = np.stack([_grid(one.thumb, THUMB, 3) for one in chosen])
    outlines = np.stack([_grid(one.outlines, PARTS, 1) for one in chosen])
    pairs = np.triu_indices(len(chosen), 1)
    return Sameness(
        background=float(np.median(_differences(colours[:, _ring()].reshape(len(chosen), -1))[pairs])),
        outlines=float(np.median(_correlations(outlines.reshape(len(chosen), -1))[pairs])),
    )


def _spread(count: int) -> list[int]:
    if count <= _MOST:
        return list(range(count))
    return sorted({round(place * (count - 1) / (_MOST - 1)) for place in range(_MOST)})


def _grid(pixels: bytes, across: int, channels: int) -> Grids:
    """`across`×`across` pixels as the means of `_CELLS`×`_CELLS` parts."""
    side = across // _CELLS
    values = np.frombuffer(pixels, np.uint8).reshape(_CELLS, side, _CELLS, side, channels)
    return values.mean(axis=(1, 3))


def _ring() -> NDArray[np.bool_]:
    """The cells along the four sides, where the background is in most pictures."""
    ring = np.ones((_CELLS, _CELLS), np.bool_)
    ring[_RING:-_RING, _RING:-_RING] = False
    return ring


def _differences(rows: Grids) -> Grids:
    return np.stack([np.abs(rows - row).mean(axis=1) for row in rows])


def _correlations(rows: Grids) -> Grids:
    centred = rows - rows.mean(axis=1, keepdims=True)
    unit = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-9)
    return unit @ unit.T
