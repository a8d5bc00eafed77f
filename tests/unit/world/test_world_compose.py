"""A picture shows the factors of its scene and nothing depends on when it is drawn."""

import dataclasses

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageDraw

from lorasmith.world import BACKGROUNDS, COLOURS, Place, Scene, Size, render

DISC = (10, 200, 90)
SCENE = Scene("apple", background="red", jitter=5)


class DiscSprites:
    """A disc, whatever is asked for."""

    def of(self, thing: str, style: str) -> Image.Image:
        sprite = Image.new("RGBA", (96, 96))
        ImageDraw.Draw(sprite).ellipse((0, 0, 95, 95), fill=(*DISC, 255))
        return sprite


def pixels(scene: Scene, side: int = 64) -> npt.NDArray[np.int32]:
    return np.asarray(render(scene, DiscSprites(), side=side)).astype(np.int32)


def disc_mask(scene: Scene) -> npt.NDArray[np.bool_]:
    return np.abs(pixels(scene) - np.array(DISC)).max(axis=-1) < 30


def test_the_same_scene_gives_the_same_picture() -> None:
    assert np.array_equal(pixels(SCENE), pixels(SCENE))


def test_another_jitter_gives_another_picture() -> None:
    assert not np.array_equal(pixels(SCENE), pixels(dataclasses.replace(SCENE, jitter=6)))


@pytest.mark.parametrize("background", COLOURS)
def test_corners_have_the_background_colour(background: str) -> None:
    corner = pixels(dataclasses.replace(SCENE, background=background))[1, 1]
    assert np.abs(corner - np.array(COLOURS[background])).max() <= 13


def test_backgrounds_differ_from_one_another() -> None:
    means = [pixels(dataclasses.replace(SCENE, background=name)).mean(axis=1).ravel() for name in BACKGROUNDS]
    distances = [np.abs(one - other).mean() for place, one in enumerate(means) for other in means[:place]]
    assert min(distances) > 4


def test_small_covers_less_than_normal_and_normal_less_than_large() -> None:
    sizes: list[Size] = ["small", "normal", "large"]
    covered = [disc_mask(dataclasses.replace(SCENE, size=size)).mean() for size in sizes]
    assert covered[0] * 1.8 < covered[1]
    assert covered[1] * 1.3 < covered[2]


@pytest.mark.parametrize(
    ("place", "axis", "sign"), [("left", 1, -1), ("right", 1, 1), ("top", 0, -1), ("bottom", 0, 1)]
)
def test_a_placed_object_is_where_its_scene_says(place: Place, axis: int, sign: int) -> None:
    rows_and_columns = np.nonzero(disc_mask(dataclasses.replace(SCENE, size="small", place=place)))
    assert sign * (rows_and_columns[axis].mean() - 31.5) > 8


def test_a_larger_picture_is_the_same_picture() -> None:
    large = Image.fromarray(pixels(SCENE, side=256).astype(np.uint8)).resize((64, 64), Image.Resampling.BOX)
    assert np.abs(np.asarray(large).astype(np.int32) - pixels(SCENE)).mean() < 3
