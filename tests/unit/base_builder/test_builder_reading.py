"""Reading by the nearest true render tells right pictures from wrong ones."""

import dataclasses
import random

import pytest
from PIL import Image, ImageDraw

from lorasmith.base_builder.reading import NearestRender, examination
from lorasmith.world import Scene, render


class ColouredShapes:
    """Each object and style its own colour and height."""

    def of(self, thing: str, style: str) -> Image.Image:
        rng = random.Random(f"{thing}/{style}")
        colour = (rng.randrange(256), rng.randrange(256), rng.randrange(256), 255)
        sprite = Image.new("RGBA", (64, 64))
        ImageDraw.Draw(sprite).ellipse((0, rng.randrange(30), 63, 63), fill=colour)
        return sprite


@pytest.fixture(scope="module")
def reader() -> NearestRender:
    return NearestRender(ColouredShapes())


PROMPTED = Scene("apple", style="noto", background="green", jitter=9)


def test_a_true_picture_is_read_as_prompted(reader: NearestRender) -> None:
    obedience = reader.obedience([render(PROMPTED, ColouredShapes())], [PROMPTED])
    assert (obedience.thing, obedience.style, obedience.background, obedience.all_factors) == (1, 1, 1, 1)


def test_a_wrong_object_is_read_as_what_it_is(reader: NearestRender) -> None:
    drawn = render(dataclasses.replace(PROMPTED, thing="whale"), ColouredShapes())
    assert reader.read(drawn, PROMPTED, "thing") == "whale"


def test_a_wrong_background_fails_that_factor_and_the_whole(reader: NearestRender) -> None:
    drawn = render(dataclasses.replace(PROMPTED, background="blue"), ColouredShapes())
    obedience = reader.obedience([drawn], [PROMPTED])
    assert (obedience.background, obedience.all_factors) == (0, 0)


def test_an_examination_asks_for_every_object_in_every_style() -> None:
    asked = {(scene.thing, scene.style) for scene in examination(201)}
    assert len(asked) == 201
