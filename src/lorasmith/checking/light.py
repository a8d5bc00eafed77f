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
_SHADE = 2.0
"""Difference to a neighbour, of 255, from which on a pixel is part of a shade and not of a flat area."""


@dataclass(frozen=True)
class Light:
    """What the light did, as shares of 1 and levels of 0…255."""

    white: float
    """Share of pixels that are white."""
    blown: float
    """Of the shaded pixels that are not white: the share that are at the end of their range."""
    lost: float
    """Of the pixels that are white or shaded: the share that is white or blown. Flat colours do not count."""
    brightest: float
    """The level that one pixel in a hundred passes in its strongest channel, so that a deep blue is not called dark."""


def light_of(pixels: Pixels, grey: Grey) -> Light:
    """What the light did in a picture [H, W, 3]; `grey` is the same picture in one channel."""
    ordered = np.sort(pixels, axis=2)
    white: Mask = ordered[:, :, 0] >= _WHITE
    is_pale = (ordered[:, :, 2] >= _AT_THE_END) & (ordered[:, :, 0] >= _PALE)
    blown: Mask = ((ordered[:, :, 1] >= _AT_THE_END) | is_pale) & ~white
    shaded = _shaded(grey) & ~white
    return Light(
        white=float(np.mean(white)),
        blown=float(np.count_nonzero(blown & shaded) / max(1, np.count_nonzero(shaded))),
        lost=float(np.count_nonzero(white | (blown & shaded)) / max(1, np.count_nonzero(white | shaded))),
        brightest=float(np.quantile(ordered[:, :, 2], 0.99)),
    )


def _shaded(grey: Grey) -> Mask:
    differences = np.zeros_like(grey)
    differences[:, :-1] += np.abs(np.diff(grey, axis=1))
    differences[:-1] += np.abs(np.diff(grey, axis=0))
    return differences > _SHADE
