"""Owns which pictures defects are planted in: the emoji world's, plain and as if photographed, or photographs."""
# Pillow and numpy do not tell each other the types of their arrays.
# pyright: reportUnknownMemberType=false

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lorasmith.testing.planted_defects import DEFECTS, Corpus, plant
from lorasmith.world import BACKGROUNDS, OBJECTS, STYLES, Scene, render, shipped_sprites

SIDE = 256
"""Pixels of made pictures, and the resolution they are to be checked for."""
PHOTOGRAPH_RESOLUTION = 512
_NEEDS_SHADES = frozenset({"overexposed", "underexposed", "moved"})
_PAINTED = ("noto", "3d")
_COLOURED = tuple(name for name in BACKGROUNDS if name not in ("white", "snow", "black", "night"))
_DEFECTS_A_FOLDER = 0.6

Levels = NDArray[np.float64]


def made_folder(folder: Path, *, each: int, clean: int, seed: int = 0) -> Corpus:
    """`each` pictures with each defect and `clean` ones without, all of the emoji world, in one folder.

    Every other picture is plain art; the others, and all with defects of light, are as if photographed.
    """
    plan: list[str | None] = [defect for defect in DEFECTS for _ in range(each)]
    plan += [None] * clean
    random.Random(seed).shuffle(plan)
    sources = [
        _photographed(number) if defect in _NEEDS_SHADES else _made(number) for number, defect in enumerate(plan)
    ]
    return plant(folder, sources, plan, seed=seed)


def photograph_folders(folder: Path, photographs: Sequence[Image.Image], *, each: int, seed: int = 0) -> list[Corpus]:
    """`each` photographs with each defect, in as many folders as it takes to have each photograph once in a folder.

    A photograph is framed a little otherwise in each folder. What is left over in a folder is clean.
    """
    rng = random.Random(seed)
    plans = list(_plans(each, len(photographs), rng))
    return [
        plant(folder / f"{number:03d}", [_framed(one, rng) for one in photographs], plan, seed=seed + number)
        for number, plan in enumerate(plans)
    ]


def photograph(picture: Image.Image, *, seed: int) -> Image.Image:
    """The picture as if it stood in a room: lit from one side, grainy, and of surfaces that are never quite even.

    Drawings have flat colours; what a camera sees has shades everywhere, and some defects only show in shades.
    """
    rng = np.random.default_rng(seed)
    side = max(picture.size)
    light = sum((_clouds(rng, cells, picture.size) / cells**0.7 for cells in (2, 5, 11, 23, 47, side // 3)), 0.0)
    grain = rng.normal(0, 1.5, (picture.height, picture.width, 1))
    values = np.asarray(picture.convert("RGB"), dtype=np.float64)
    levels = (12 + 0.78 * values) * (1 + 0.28 * light) + grain
    return Image.fromarray(np.rint(np.clip(levels, 0, 255)).astype(np.uint8))


def _clouds(rng: np.random.Generator, cells: int, size: tuple[int, int]) -> Levels:
    """Random levels around 0, [H, W, 1], that change from cell to cell."""
    levels = rng.normal(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(Image.fromarray(levels).resize(size, Image.Resampling.BICUBIC), dtype=np.float64)[:, :, None]


def _made(number: int) -> Image.Image:
    """A scene that no other number has: its object and style come back on another background only."""
    turn = number // len(OBJECTS)
    scene = Scene(
        OBJECTS[number % len(OBJECTS)].name,
        style=STYLES[turn % len(STYLES)],
        background=BACKGROUNDS[(5 * number + turn) % len(BACKGROUNDS)],
        size="large" if turn % 2 else "normal",
        jitter=number,
    )
    drawn = render(scene, shipped_sprites(), side=SIDE)
    return photograph(drawn, seed=number) if number % 2 == 0 else drawn


def _photographed(number: int) -> Image.Image:
    """A scene as a camera would meet it: no drawing of lines, and no white paper, which loses nothing in more light."""
    scene = Scene(
        OBJECTS[number % len(OBJECTS)].name,
        style=_PAINTED[number % len(_PAINTED)],
        background=_COLOURED[number % len(_COLOURED)],
        size="large",
        jitter=number,
    )
    return photograph(render(scene, shipped_sprites(), side=SIDE), seed=number)


def _plans(each: int, size: int, rng: random.Random) -> Iterator[list[str | None]]:
    """Which defect each picture of a folder gets; the same words are planted twice in a folder, or they are not."""
    waiting = [defect for defect in DEFECTS for _ in range(each) if defect != "same_caption"]
    rng.shuffle(waiting)
    pairs = -(-each // 2)
    while waiting or pairs:
        plan: list[str | None] = ["same_caption", "same_caption"] if pairs else []
        pairs -= 1 if pairs else 0
        room = int(size * _DEFECTS_A_FOLDER) - len(plan)
        plan += waiting[:room]
        waiting = waiting[room:]
        plan += [None] * (size - len(plan))
        rng.shuffle(plan)
        yield plan


def _framed(picture: Image.Image, rng: random.Random) -> Image.Image:
    """Most of the picture, mirrored or not."""
    kept = rng.uniform(0.85, 1)
    width, height = round(picture.width * kept), round(picture.height * kept)
    left, top = rng.randint(0, picture.width - width), rng.randint(0, picture.height - height)
    part = picture.crop((left, top, left + width, top + height))
    return part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.5 else part
