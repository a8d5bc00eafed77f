"""Owns the numbers taken of a decoded picture, once and for all checks; judges nothing.

They are of a small copy, so that a picture of 60 million pixels takes no longer to measure than to decode.
"""
# Pillow and numpy do not tell each other the types of their arrays.
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Base64Bytes

from lorasmith.checking.light import light_of
from lorasmith.checking.sharpness import edge_width

SHORT_SIDE = 512
"""Pixels of the copy that is measured; smaller pictures are measured as they are."""
THUMB = 48
"""Side of the picture in small, in pixels, that duplicates are found by."""
PARTS = 32
"""Along each side, the parts that are told how much there is to see in."""
_LIGHT_SIDE = 256
_SLOPE = 12.0
"""Of 255 from pixel to pixel, at `_LIGHT_SIDE`: what counts as something to see."""

Pixels = NDArray[np.uint8]
Grey = NDArray[np.float32]


@dataclass(frozen=True)
class Measures:
    """What was measured of a picture; shares are of 1, levels of 0…255."""

    edge_width: float | None
    """Blur over the sharpest edges, in pixels of the measured copy; None where there are no edges."""
    white: float
    blown: float
    at_end: float
    flat: float
    border: float
    brightest: float
    detail: float
    """Share of pixels where there is something to see."""
    extent: float
    """Share of the picture that the rectangle around all of it takes."""
    thumb: Base64Bytes
    """`THUMB`×`THUMB` RGB, each pixel the mean of what it stands for."""
    outlines: Base64Bytes
    """`PARTS`×`PARTS`, how much there is to see in each part; the most is 255."""


def measure(picture: Image.Image) -> Measures:
    """The numbers of an upright RGB picture."""
    copy = _reduced(picture, SHORT_SIDE)
    small = _reduced(copy, _LIGHT_SIDE)
    grey = _grey(small)
    slopes = _slopes(grey)
    light = light_of(np.asarray(small), grey)
    outlines = _outlines(slopes)
    return Measures(
        edge_width=edge_width(_grey(copy)),
        white=light.white,
        blown=light.blown,
        at_end=light.at_end,
        flat=light.flat,
        border=light.border,
        brightest=light.brightest,
        detail=float(np.mean(slopes > _SLOPE)),
        extent=_extent(outlines),
        thumb=small.resize((THUMB, THUMB), Image.Resampling.BOX).tobytes(),
        outlines=outlines.tobytes(),
    )


def _reduced(picture: Image.Image, short_side: int) -> Image.Image:
    """The picture with its short side of at most so many pixels, and its long side of at most four times as many."""
    scale = min(short_side / min(picture.size), 4 * short_side / max(picture.size))
    if scale >= 1:
        return picture
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)


def _grey(picture: Image.Image) -> Grey:
    return np.asarray(picture.convert("L"), dtype=np.float32)


def _slopes(grey: Grey) -> Grey:
    """The greater of the differences to the next pixel along the row and along the column."""
    slopes = np.zeros_like(grey)
    slopes[:, :-1] = np.abs(np.diff(grey, axis=1))
    slopes[:-1] = np.maximum(slopes[:-1], np.abs(np.diff(grey, axis=0)))
    return slopes


def _outlines(slopes: Grey) -> Pixels:
    """How much there is to see in each of `PARTS`×`PARTS` parts, the most being 255."""
    clear = np.where(slopes > _SLOPE / 2, slopes, np.float32(0))
    parts = np.asarray(Image.fromarray(clear).resize((PARTS, PARTS), Image.Resampling.BOX))
    most = float(parts.max())
    return np.rint(parts * (255 / most)).astype(np.uint8) if most > 0 else np.zeros((PARTS, PARTS), np.uint8)


def _extent(outlines: Pixels) -> float:
    seen = outlines > 12
    rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
    if not rows.size:
        return 0.0
    return float((rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)) / seen.size
