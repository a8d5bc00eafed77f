"""Owns the reading of pictures by their nearest true render, factor by factor; refuses to learn anything.

It is a check on the build, not an oracle: it knows the prompted factors and asks of one at a time whether another value
of it would explain the picture better.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from ..world import BACKGROUNDS, OBJECTS, STYLES, Scene, Sprites, render

Factor = Literal["thing", "style", "background"]
FACTORS: Final[tuple[Factor, ...]] = ("thing", "style", "background")

_JITTERS: Final = tuple(range(101, 107))
_CELLS: Final = 32
_VALUES: Final[dict[Factor, tuple[str, ...]]] = {
    "thing": tuple(thing.name for thing in OBJECTS),
    "style": STYLES,
    "background": BACKGROUNDS,
}


@dataclass(frozen=True, slots=True)
class Obedience:
    """Shares of pictures in which each prompted factor, and all of them together, are read as prompted."""

    thing: float
    style: float
    background: float
    all_factors: float


class NearestRender:
    """Reads a factor as the value whose true renders come nearest."""

    def __init__(self, sprites: Sprites) -> None:
        """Renders are made when first needed and kept."""
        self._sprites = sprites
        self._signature = lru_cache(maxsize=20_000)(self._fresh_signature)

    def read(self, picture: Image.Image, prompted: Scene, factor: Factor) -> str:
        """The value of `factor` that explains `picture` best, all else being as prompted."""
        seen = _reduced(picture)
        distances = {
            value: min(
                float(np.square(seen - self._signature(replace(prompted, **{factor: value, "jitter": jitter}))).mean())
                for jitter in _JITTERS
            )
            for value in _VALUES[factor]
        }
        return min(distances, key=lambda value: distances[value])

    def obedience(self, pictures: Sequence[Image.Image], prompted: Sequence[Scene]) -> Obedience:
        """How often the pictures are read as prompted."""
        right = np.array(
            [
                [self.read(picture, scene, factor) == getattr(scene, factor) for factor in FACTORS]
                for picture, scene in zip(pictures, prompted, strict=True)
            ]
        )
        thing, style, background = (float(share) for share in right.mean(axis=0))
        return Obedience(thing, style, background, float(right.all(axis=1).mean()))

    def _fresh_signature(self, scene: Scene) -> npt.NDArray[np.float32]:
        return _reduced(render(scene, self._sprites))


def examination(count: int, *, seed: int = 0) -> list[Scene]:
    """Scenes to prompt for: objects, styles and backgrounds in balance, of normal size, upright, in the middle."""
    rng = random.Random(f"examination/{seed}")
    things = _VALUES["thing"]
    backgrounds = [BACKGROUNDS[place % len(BACKGROUNDS)] for place in range(count)]
    rng.shuffle(backgrounds)
    return [
        Scene(things[place % len(things)], STYLES[(place + place // len(things)) % len(STYLES)], backgrounds[place])
        for place in range(count)
    ]


def _reduced(picture: Image.Image) -> npt.NDArray[np.float32]:
    """Blurred a little, since places differ by a pixel or two; (cells, cells, 3) in 0 to 1."""
    small = picture.filter(ImageFilter.GaussianBlur(1.2)).resize((_CELLS, _CELLS), Image.Resampling.BOX)
    return np.asarray(small).astype(np.float32) / np.float32(255)
