"""Owns the composition of a picture from a scene and its sprite; refuses to find sprites or to word captions."""

from __future__ import annotations

import random
from typing import Final

from PIL import Image

from .backgrounds import paint_background
from .dressing import dressed
from .scene import Place, Scene, Tilt
from .sprites import Sprites

_OVERSAMPLING: Final = 2
_EXTENT: Final = {"small": 0.42, "normal": 0.7, "large": 0.94}
_OFFSET: Final[dict[Place, tuple[float, float]]] = {
    "middle": (0.0, 0.0),
    "left": (-0.25, 0.0),
    "right": (0.25, 0.0),
    "top": (0.0, -0.25),
    "bottom": (0.0, 0.25),
}
_DEGREES: Final[dict[Tilt, float]] = {"upright": 0.0, "left": 28.0, "right": -28.0}


def render(scene: Scene, sprites: Sprites, *, side: int = 64) -> Image.Image:
    """The RGB picture of `scene`, `side` pixels square; the same scene gives the same picture at any size."""
    rng = random.Random(f"render/{scene.jitter}")
    large = side * _OVERSAMPLING
    sprite = _turned(_scaled(_sprite(scene, sprites), scene, large, rng), scene, rng)
    position = _position(scene, sprite.size, large, rng)
    canvas = paint_background(scene.background, large, rng)
    canvas.paste(sprite, position, sprite)
    return canvas.reduce(_OVERSAMPLING)


def _sprite(scene: Scene, sprites: Sprites) -> Image.Image:
    plain = sprites.of(scene.thing, scene.style)
    return plain if scene.identity is None else dressed(plain, scene.identity, scene.style)


def _scaled(sprite: Image.Image, scene: Scene, side: int, rng: random.Random) -> Image.Image:
    extent = _EXTENT[scene.size] * rng.uniform(0.95, 1.05) * side
    ratio = extent / max(sprite.size)
    width, height = (max(1, round(length * ratio)) for length in sprite.size)
    return sprite.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)


def _turned(sprite: Image.Image, scene: Scene, rng: random.Random) -> Image.Image:
    degrees = _DEGREES[scene.tilt] + rng.uniform(-3.0, 3.0)
    return sprite.rotate(degrees, Image.Resampling.BILINEAR, expand=True)


def _position(scene: Scene, size: tuple[int, int], side: int, rng: random.Random) -> tuple[int, int]:
    across, down = (offset + rng.uniform(-0.025, 0.025) for offset in _OFFSET[scene.place])
    return round((0.5 + across) * side - size[0] / 2), round((0.5 + down) * side - size[1] / 2)
