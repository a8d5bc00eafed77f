"""Owns the painting of backgrounds, plain colours and simple scenes; refuses objects."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageDraw

from .catalogue import COLOURS

Colour = tuple[int, int, int]


def paint_background(name: str, side: int, rng: random.Random) -> Image.Image:
    """A square RGB picture of `side` pixels: a jittered colour, or one of the scenes."""
    if name in COLOURS:
        return Image.new("RGB", (side, side), _jittered(COLOURS[name], rng, spread=12))
    return _SCENES[name](side, rng)


def _jittered(colour: Colour, rng: random.Random, *, spread: int = 8) -> Colour:
    red, green, blue = (min(255, max(0, part + rng.randint(-spread, spread))) for part in colour)
    return red, green, blue


def _gradient(side: int, top: Colour, bottom: Colour) -> Image.Image:
    column = Image.new("RGB", (1, 2))
    column.putpixel((0, 0), top)
    column.putpixel((0, 1), bottom)
    return column.resize((side, side), Image.Resampling.BILINEAR)


def _with_ground(sky: Image.Image, ground: Colour, horizon: float) -> Image.Image:
    side = sky.width
    ImageDraw.Draw(sky).rectangle((0, round(horizon * side), side, side), fill=ground)
    return sky


def _grass(side: int, rng: random.Random) -> Image.Image:
    sky = _gradient(side, _jittered((120, 190, 245), rng), (200, 230, 250))
    return _with_ground(sky, _jittered((96, 176, 72), rng), rng.uniform(0.56, 0.66))


def _beach(side: int, rng: random.Random) -> Image.Image:
    sky = _gradient(side, _jittered((150, 210, 250), rng), (215, 238, 252))
    horizon = rng.uniform(0.36, 0.44)
    sea = _with_ground(sky, _jittered((40, 150, 200), rng), horizon)
    return _with_ground(sea, _jittered((238, 214, 160), rng), horizon + rng.uniform(0.2, 0.26))


def _night(side: int, rng: random.Random) -> Image.Image:
    sky = _gradient(side, _jittered((14, 18, 54), rng), _jittered((40, 48, 110), rng))
    draw = ImageDraw.Draw(sky)
    for _ in range(rng.randint(14, 22)):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, side), side * rng.uniform(0.007, 0.014)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(250, 246, 210))
    return sky


def _sunset(side: int, rng: random.Random) -> Image.Image:
    sky = _gradient(side, _jittered((110, 60, 140), rng), _jittered((255, 150, 60), rng))
    return _with_ground(sky, _jittered((60, 36, 70), rng), rng.uniform(0.76, 0.82))


def _snow(side: int, rng: random.Random) -> Image.Image:
    sky = _gradient(side, _jittered((150, 176, 206), rng), _jittered((196, 212, 230), rng))
    _with_ground(sky, _jittered((244, 247, 252), rng, spread=4), rng.uniform(0.6, 0.7))
    draw = ImageDraw.Draw(sky)
    for _ in range(rng.randint(12, 20)):
        x, y, radius = rng.uniform(0, side), rng.uniform(0, 0.66 * side), side * rng.uniform(0.012, 0.02)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(255, 255, 255))
    return sky


_SCENES: Final[dict[str, Callable[[int, random.Random], Image.Image]]] = {
    "grass": _grass,
    "beach": _beach,
    "night": _night,
    "sunset": _sunset,
    "snow": _snow,
}
