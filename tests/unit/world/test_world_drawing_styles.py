"""Derived styles keep the shape and change the drawing."""

import numpy as np
from PIL import Image, ImageDraw

from lorasmith.world.drawing_styles import mosaic, outlined


def two_coloured_square() -> Image.Image:
    sprite = Image.new("RGBA", (200, 200))
    draw = ImageDraw.Draw(sprite)
    draw.rectangle((40, 40, 160, 160), fill=(200, 30, 30, 255))
    draw.rectangle((40, 100, 160, 160), fill=(30, 30, 200, 255))
    return sprite


def test_an_outline_is_white_inside_dark_where_colours_meet_and_clear_outside() -> None:
    drawn = np.asarray(outlined(two_coloured_square()))  # padded by 8 pixels on each side
    assert drawn[70 + 8, 100 + 8, :3].min() > 240
    assert drawn[100 + 8, 100 + 8, :3].max() < 120
    assert drawn[40 + 8, 100 + 8, :3].max() < 120
    assert drawn[4, 4, 3] == 0


def test_a_mosaic_has_few_colours_and_hard_edges() -> None:
    drawn = np.asarray(mosaic(two_coloured_square()))
    assert set(np.unique(drawn[..., 3])) == {0, 255}
    assert len(np.unique(drawn.reshape(-1, 4), axis=0)) < 12
