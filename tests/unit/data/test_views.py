"""Rendered pixels are what the View says they are, and draws are counted, never consumed."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_pictures import example, gradient, noise, save
from PIL import Image
from torch import Tensor

from lorasmith.config.data import Interpolation
from lorasmith.data.examples import View
from lorasmith.data.read import Role, read_examples
from lorasmith.data.views import ViewSettings, covering, render, view_of
from lorasmith.sizes import Corner, Size

sides = st.integers(1, 5000)
sizes = st.builds(Size, sides, sides)


def columns_and_rows(pixels: Tensor) -> tuple[list[int], list[int]]:
    """Which columns and rows of `gradient` the pixels show."""
    values = ((pixels + 1) * 127.5).round().to(torch.int64)
    return [int(value) for value in values[0, 0]], [int(value) for value in values[1, :, 0]]


@given(sizes, sizes)
def test_the_resized_picture_covers_the_target_exactly_on_one_side(size: Size, target: Size) -> None:
    resized = covering(size, target)
    assert resized.height >= target.height
    assert resized.width >= target.width
    assert resized.height == target.height or resized.width == target.width


@given(sizes, st.integers(1, 2000))
def test_the_aspect_is_kept_to_within_a_pixel(size: Size, side: int) -> None:
    resized = covering(size, Size(side, side))
    long, short = max(size), min(size)
    assert max(resized) == long * side // short, "as torchvision's Resize of the short side"
    assert (resized.height > resized.width) <= (size.height > size.width)


@given(sizes, st.sampled_from(["center", "random"]), st.booleans(), st.integers(0, 9), st.integers(0, 3))
def test_every_view_lies_inside_the_resized_picture(size: Size, crop: str, flip: bool, epoch: int, copy: int) -> None:
    assert crop in ("center", "random")
    settings = ViewSettings("center" if crop == "center" else "random", flip, seed=1)
    target = Size(32, 48)
    view = view_of(example(size=size), target, settings=settings, epoch=epoch, copy=copy)
    top, left = view.crop_top_left
    assert 0 <= top <= view.resized.height - target.height
    assert 0 <= left <= view.resized.width - target.width
    assert (view.original, view.target) == (size, target)
    assert view == view_of(example(size=size), target, settings=settings, epoch=epoch, copy=copy)


def test_the_pixels_are_the_part_the_view_names() -> None:
    view = View(Size(60, 80), Size(60, 80), Corner(top=7, left=11), Size(16, 24), flip=False)
    columns, rows = columns_and_rows(render(gradient(80, 60), view, "lanczos"))
    assert columns == list(range(11, 35))
    assert rows == list(range(7, 23))


def test_the_corner_is_counted_in_the_flipped_picture() -> None:
    view = View(Size(60, 80), Size(60, 80), Corner(top=7, left=11), Size(16, 24), flip=True)
    columns, rows = columns_and_rows(render(gradient(80, 60), view, "lanczos"))
    assert columns == [79 - column for column in range(11, 35)]
    assert rows == list(range(7, 23))


def test_pictures_are_resized_before_they_are_cut() -> None:
    view = View(Size(120, 160), Size(60, 80), Corner(top=10, left=20), Size(16, 16), flip=False)
    columns, rows = columns_and_rows(render(gradient(160, 120), view, "box"))
    middles = [2 * (20 + at) + 0.5 for at in range(16)]
    assert np.abs(np.array(columns) - middles).max() <= 0.5
    assert np.abs(np.array(rows) - [2 * (10 + at) + 0.5 for at in range(16)]).max() <= 0.5


def test_values_run_from_minus_one_to_one_in_fp32_with_channels_first() -> None:
    picture = gradient(256, 4)
    view = View(Size(4, 256), Size(4, 256), Corner(0, 0), Size(4, 256), flip=False)
    pixels = render(picture, view, "bicubic")
    assert (pixels.shape, pixels.dtype) == ((3, 4, 256), torch.float32)
    assert (pixels[0].min().item(), pixels[0].max().item()) == (-1.0, 1.0)
    assert (pixels[2] == -1.0).all()


@pytest.mark.parametrize("name", ["lanczos", "bicubic", "bilinear", "box", "hamming", "nearest"])
def test_each_interpolation_is_another_one(name: Interpolation) -> None:
    names: tuple[Interpolation, ...] = ("lanczos", "bicubic", "bilinear", "box", "hamming", "nearest")
    view = View(Size(40, 40), Size(17, 17), Corner(0, 0), Size(17, 17), flip=False)
    picture = noise(40, 40)
    others = [render(picture, view, other) for other in names if other != name]
    assert not any(torch.equal(render(picture, view, name), other) for other in others)


def test_the_centre_is_the_centre() -> None:
    settings = ViewSettings("center", flip=False, seed=0)
    view = view_of(example(size=Size(100, 300)), Size(50, 50), settings=settings, epoch=3, copy=0)
    assert view.resized == Size(50, 150)
    assert view.crop_top_left == Corner(0, 50)


def test_random_crops_reach_both_ends_and_differ_between_epochs_copies_examples_and_seeds() -> None:
    settings = ViewSettings("random", flip=False, seed=0)
    wide = example("a", size=Size(32, 40))

    def left(*, epoch: int = 0, copy: int = 0, name: str = "a", seed: int = 0) -> int:
        one = example(name, size=wide.size)
        told = ViewSettings("random", flip=False, seed=seed)
        return view_of(one, Size(32, 32), settings=told, epoch=epoch, copy=copy).crop_top_left.left

    assert {left(epoch=epoch) for epoch in range(200)} == set(range(9))
    assert len({left(copy=copy) for copy in range(20)}) > 1
    assert len({left(name=str(name)) for name in range(20)}) > 1
    assert len({left(seed=seed) for seed in range(20)}) > 1
    assert view_of(wide, Size(32, 32), settings=settings, epoch=0, copy=0).crop_top_left.left == left()


def test_the_flip_is_drawn_anew_each_epoch_with_even_odds() -> None:
    settings = ViewSettings("center", flip=True, seed=0)
    flips = [view_of(example(), Size(32, 32), settings=settings, epoch=epoch, copy=0).flip for epoch in range(400)]
    assert 150 < sum(flips) < 250
    copies = [view_of(example(), Size(32, 32), settings=settings, epoch=0, copy=copy).flip for copy in range(20)]
    assert set(copies) == {True, False}, "copies of a picture are mirrored independently"
    still = ViewSettings("center", flip=False, seed=0)
    assert not any(view_of(example(), Size(32, 32), settings=still, epoch=at, copy=0).flip for at in range(50))


def test_the_only_picture_of_a_folder_is_turned_upright_cropped_and_flipped_like_any_other(tmp_path: Path) -> None:
    stored = gradient(40, 20).transpose(Image.Transpose.ROTATE_90)
    exif = stored.getexif()
    exif[0x0112] = 6
    save(stored, tmp_path / "a.png", exif=exif)
    reading = read_examples(
        tmp_path, prompt="TOK", caption_column=None, role=Role.INSTANCE, pixel_limit=10_000, background="white"
    )
    (only,) = reading.examples
    assert only.size == Size(height=20, width=40)
    settings = ViewSettings("random", flip=True, seed=0)
    views = [view_of(only, Size(16, 16), settings=settings, epoch=epoch, copy=0) for epoch in range(40)]
    assert len({view.crop_top_left for view in views}) > 5
    assert {view.flip for view in views} == {True, False}


@pytest.mark.parametrize(("size", "enlarged"), [(Size(32, 32), False), (Size(31, 90), True), (Size(90, 90), False)])
def test_a_picture_smaller_than_the_target_is_known_to_be_enlarged(size: Size, enlarged: bool) -> None:
    settings = ViewSettings("center", flip=False, seed=0)
    assert view_of(example(size=size), Size(32, 32), settings=settings, epoch=0, copy=0).is_enlarged is enlarged


def test_only_centre_crops_are_few_enough_to_be_kept() -> None:
    assert ViewSettings("center", flip=True, seed=0).are_few
    assert not ViewSettings("random", flip=False, seed=0).are_few
