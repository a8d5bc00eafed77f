"""Owns the painting of an identity's coat and pattern onto a sprite; refuses to change the sprite's shape."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from .identities import Coat, Identity, Pattern, PatternColour

Floats = npt.NDArray[np.float32]

_COATS: Final[dict[Coat, tuple[int, int, int]]] = {
    "orange": (255, 140, 26),
    "lime": (158, 222, 44),
    "cyan": (56, 204, 222),
    "magenta": (226, 48, 158),
    "indigo": (84, 72, 196),
    "brown": (132, 84, 48),
}
_PATTERN_COLOURS: Final[dict[PatternColour, tuple[int, int, int]]] = {
    "white": (250, 250, 250),
    "black": (34, 34, 38),
    "red": (216, 28, 36),
    "blue": (28, 60, 214),
    "yellow": (255, 226, 36),
}
_CELL_OF_PIXEL_STYLE_PX: Final = 8
# In units of the longer side: as fine as the base can draw at normal size.
_STRIPE: Final = 0.15
_CHECK: Final = 0.22
_BETWEEN_DOTS: Final = 0.3
_DOT_RADIUS: Final = 0.1
_LEAST_SPAN: Final = 100  # of 255: flat art is not stretched into noise
_TYPICAL_SHADE: Final = 0.7


def dressed(sprite: Image.Image, identity: Identity, style: str) -> Image.Image:
    """The sprite in the identity's colours, its light and shade kept, its transparency untouched."""
    alpha = sprite.getchannel("A")
    luminance = np.asarray(sprite.convert("L"))
    shades = _shades(luminance[np.asarray(alpha) > 127])
    colours = _lit(_COATS[identity.coat], shades)[luminance]
    if identity.pattern_colour is not None:
        cell = _CELL_OF_PIXEL_STYLE_PX if style == "pixel" else 1
        drawn = _drawn(identity.pattern, (sprite.height, sprite.width), cell)
        colours[drawn] = _lit(_PATTERN_COLOURS[identity.pattern_colour], shades)[luminance[drawn]]
    painted = Image.fromarray(colours)
    painted.putalpha(alpha)
    return painted


def _shades(luminance: npt.NDArray[np.uint8]) -> Floats:
    """How light (256,), in 0 to 1, each luminance becomes, given those of the object.

    They are spread out between the darkest and the lightest, and lifted where most are dark, so that a dark object can
    wear a coat as well.
    """
    low, middle, high = (float(value) for value in np.quantile(luminance, (0.02, 0.5, 0.98)))
    depth = (high - np.arange(256, dtype=np.float32)) / max(high - low, _LEAST_SPAN)
    shades = 1 - np.float32(0.85) * np.clip(depth, 0, 1)
    typical = float(shades[round(middle)])
    lift = math.log(_TYPICAL_SHADE) / math.log(typical) if typical < _TYPICAL_SHADE else 1.0
    return np.power(shades, np.float32(lift))


def _lit(colour: tuple[int, int, int], shades: Floats) -> npt.NDArray[np.uint8]:
    """The colour in each shade (256, 3): from near black over itself, at 0.8, to a tint of it."""
    shadowed = np.array(colour, dtype=np.float32) * np.minimum(shades / np.float32(0.8), 1)[:, None]
    tinted = shadowed + (255 - shadowed) * np.maximum(shades - np.float32(0.8), 0)[:, None]
    return np.rint(tinted).astype(np.uint8)


def _drawn(pattern: Pattern, shape: tuple[int, int], cell: int) -> npt.NDArray[np.bool_]:
    """Where the pattern lies (height, width), in units of the longer side, so that it is as coarse on every object."""
    height, width = shape
    rows, columns = ((np.arange(length) // cell + np.float32(0.5)) * cell for length in shape)
    y, x = np.meshgrid(rows / max(shape), columns / max(shape), indexing="ij")
    match pattern:
        case "plain":
            return np.zeros((height, width), dtype=np.bool_)
        case "stripes":
            return x // _STRIPE % 2 == 1
        case "bands":
            return y // _STRIPE % 2 == 1
        case "dots":
            shifted = x + _BETWEEN_DOTS / 2 * (y // _BETWEEN_DOTS % 2)
            centre = _BETWEEN_DOTS / 2
            return np.hypot(shifted % _BETWEEN_DOTS - centre, y % _BETWEEN_DOTS - centre) < _DOT_RADIUS
        case "checks":
            return (x // _CHECK + y // _CHECK) % 2 == 1
        case "halves":
            return x > width / max(shape) / 2
