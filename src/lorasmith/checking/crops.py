"""Owns which part of a picture is trained on: its bucket, how much it is enlarged, and what the crop leaves out."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from lorasmith.checking.measures import PARTS
from lorasmith.data.buckets import assign
from lorasmith.data.views import covering
from lorasmith.sizes import Size


@dataclass(frozen=True)
class Crop:
    """The middle of a picture, which is what is trained on; shares of the upright picture's sides, 0…1."""

    target: Size
    enlarged: float
    """How many pixels along a side one pixel becomes; below 1 the picture is reduced."""
    top: float
    left: float
    bottom: float
    right: float

    @property
    def lost(self) -> float:
        """Share of the picture's area that is not trained on."""
        return 1 - (self.bottom - self.top) * (self.right - self.left)

    def share_seen(self, outlines: bytes) -> float:
        """How much of what there is to see (`Measures.outlines`) is inside; 1 where there is nothing to see."""
        parts = np.frombuffer(outlines, np.uint8).reshape(PARTS, PARTS).astype(np.float64)
        rows, columns = _covered(self.top, self.bottom), _covered(self.left, self.right)
        total = float(parts.sum())
        return float(rows @ parts @ columns) / total if total else 1.0


@dataclass(frozen=True)
class Bucket:
    """A size that pictures are trained at, and how many are."""

    size: Size
    pictures: int


def crop_of(size: Size, targets: Sequence[Size]) -> Crop:
    """How a picture of `size` is cut from its middle, to the target nearest to its shape."""
    target = assign(size, targets)
    resized = covering(size, target)
    height, width = target.height / resized.height, target.width / resized.width
    return Crop(
        target=target,
        enlarged=resized.height / size.height,
        top=(1 - height) / 2, left=(1 - width) / 2, bottom=(1 + height) / 2, right=(1 + width) / 2,
    )  # fmt: skip


def bucket_table(crops: Iterable[Crop]) -> list[Bucket]:
    """The sizes that are used, from upright to lying."""
    counts = Counter(crop.target for crop in crops)
    return [Bucket(size, counts[size]) for size in sorted(counts, key=lambda size: (size.width / size.height, size))]


def _covered(start: float, end: float) -> np.ndarray:
    """How much of each of `PARTS` equal parts lies between two shares of the whole."""
    edges = np.arange(PARTS + 1) / PARTS
    return np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None) * PARTS
