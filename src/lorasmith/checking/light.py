"""Owns how a picture is lit: what of it has lost its shades to white or to black; judges nothing.

White paper and black grounds are no defects. What tells them from a wrong exposure is the subject: where it has shades
at all, an over-exposed photograph shows them in pixels with two channels of three at their end.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Grey = NDArray[np.float32]
Mask = NDArray[np.bool_]

_AT_THE_END = 253
_WHITE = 250
_PALE = 110
"""The least channel of a colour that has lost its strength. Strong colours of drawings have one channel at its end."""
_FLAT, _SHADE = 1.0, 2.0
"""Difference to the neighbours, of 255: up to it a pixel is part of a flat area, from it on of a shade."""
_BEYOND = 3
"""Pixels from the last white one to where its border is behind."""


@dataclass(frozen=True)
class Light:
    """What the light did, as shares of 1 and levels of 0…255."""

    white: float
    """Share of pixels that are white."""
    blown: float
    """Of the shaded pixels that are not white: the share that are at the end of their range."""
    at_end: float
    """Share of all pixels that are white or blown."""
    flat: float
    """Of the pixels that are not white: the share that no channel changes in. Drawings have much of it."""
    border: float
    """How much darker it is a little beyond the border of what is white, in the median; 0 where nothing is white.

    White paper ends where a thing begins. Where light has run over, it ends in shades.
    """
    brightest: float
    """The level that one pixel in a hundred passes in its strongest channel, so that a deep blue is not called dark."""


def light_of(pixels: Pixels, grey: Grey) -> Light:
    """What the light did in a picture [H, W, 3]; `grey` is the same picture in one channel."""
    ordered = np.sort(pixels, axis=2)
    white: Mask = ordered[:, :, 0] >= _WHITE
    is_pale = (ordered[:, :, 2] >= _AT_THE_END) & (ordered[:, :, 0] >= _PALE)
    blown: Mask = ((ordered[:, :, 1] >= _AT_THE_END) | is_pale) & ~white
    shaded = (_differences(grey[:, :, None]) > _SHADE) & ~white
    flat = _differences(pixels.astype(np.float32)) <= _FLAT
    return Light(
        white=float(np.mean(white)),
        blown=_share(blown, shaded),
        at_end=float(np.mean(white | blown)),
        flat=_share(flat, ~white),
        border=_border(ordered[:, :, 0].astype(np.float32), white),
        brightest=float(np.quantile(ordered[:, :, 2], 0.99)),
    )


def _share(mask: Mask, among: Mask) -> float:
    """How much of `among` is in the mask."""
    return float(np.count_nonzero(mask & among) / max(1, np.count_nonzero(among)))


def _border(least: Grey, white: Mask) -> float:
    """How much less than white the least channel [H, W] is, `_BEYOND` pixels past the last white one."""
    steps = [
        255 - levels[_BEYOND:][is_white[:-_BEYOND] & ~is_white[1 : 1 - _BEYOND]]
        for levels, is_white in ((least, white), (least.T, white.T))
        for levels, is_white in ((levels, is_white), (levels[::-1], is_white[::-1]))
    ]
    beyond = np.concatenate(steps)
    return float(np.median(beyond)) if beyond.size else 0.0


def _differences(channels: Grey) -> Grey:
    """The most that any channel of [H, W, C] differs from the pixels to the right and below, together: [H, W]."""
    differences = np.zeros_like(channels)
    differences[:, :-1] += np.abs(np.diff(channels, axis=1))
    differences[:-1] += np.abs(np.diff(channels, axis=0))
    return differences.max(axis=2)
