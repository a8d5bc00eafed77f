"""A mask is found by the names other trainers use, fits its picture, and goes through the very same view."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional

from lorasmith.config.data import Interpolation
from lorasmith.data.cache import Rendering
from lorasmith.data.examples import Draw, Example, Role
from lorasmith.data.masks import MaskOptions, MaskSource, with_masks
from lorasmith.data.pictures import Pictures
from lorasmith.data.read import read_examples
from lorasmith.data.views import Crop, ViewSettings, view_of
from lorasmith.errors import DataError
from lorasmith.sizes import Size

FOUND = MaskOptions(None, alpha=False, pixel_limit=10**6)
WIDE = Size(48, 96)


def blob(size: Size, centre: tuple[float, float], radius: float = 10) -> Image.Image:
    """A soft white spot on black, in grey."""
    down, right = np.mgrid[0 : size.height, 0 : size.width]
    distance = np.hypot(down - centre[0] * size.height, right - centre[1] * size.width)
    return Image.fromarray((255 * np.clip((radius - distance) / 4 + 0.5, 0, 1)).astype(np.uint8))


def folder_with(folder: Path, *pictures: tuple[str, Image.Image]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, picture in pictures:
        (folder / name).parent.mkdir(exist_ok=True)
        picture.save(folder / name)
    return folder


def read(folder: Path) -> tuple[Example, ...]:
    return read_examples(
        folder, prompt="a TOK", caption_column=None, role=Role.INSTANCE, pixel_limit=10**6, background="white"
    ).examples


def draw_of(one: Example, target: Size, crop: Crop = "random", epoch: int = 0) -> Draw:
    view = view_of(one, target, settings=ViewSettings(crop, flip=True, seed=3), epoch=epoch, copy=0)
    return Draw(one, epoch, 0, view)


def source(*, unmasked_weight: float = 0.0, interpolation: Interpolation = "lanczos") -> MaskSource:
    return MaskSource(interpolation, pixel_limit=10**6, unmasked_weight=unmasked_weight)


@pytest.mark.parametrize("interpolation", ["lanczos", "bilinear", "nearest"])
@pytest.mark.parametrize("crop", ["center", "random", "mask"])
@pytest.mark.parametrize("target", [Size(32, 32), Size(40, 24), Size(64, 80)])
def test_a_mask_that_is_its_pictures_content_stays_so_through_every_view(
    tmp_path: Path, interpolation: Interpolation, crop: Crop, target: Size
) -> None:
    content = blob(WIDE, (0.4, 0.7))
    folder = folder_with(tmp_path, ("a.png", content.convert("RGB")), ("a-masklabel.png", content))
    (one,) = with_masks(read(folder), FOUND).examples
    pictures = Pictures(Rendering(interpolation, "white"), pixel_limit=10**6)
    for epoch in range(6):
        draw = draw_of(one, target, crop, epoch)
        height, width = latents = Size(target.height // 8, target.width // 8)
        weights = source(interpolation=interpolation).weights([draw], latents)
        shown = (pictures.pixels(draw)[:1] + 1) / 2
        assert weights is not None
        pooled = functional.adaptive_avg_pool2d(shown, (height, width))
        torch.testing.assert_close(weights[0], pooled, atol=1e-6, rtol=0)
    flips = {draw_of(one, target, crop, epoch).view.flip for epoch in range(6)}
    assert flips == {True, False}


@pytest.mark.parametrize("name", ["a-masklabel.png", "masks/a.png", "masks/a.jpg"])
def test_masks_are_found_beside_pictures_and_are_no_pictures_themselves(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path, ("a.jpg", Image.new("RGB", (64, 64))), (name, blob(Size(64, 64), (0.5, 0.5))))
    (one,) = with_masks(read(folder), FOUND).examples
    assert one.id == "a.jpg"
    assert one.mask is not None
    assert one.mask.path == folder / name


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a-masklabel.png"])
def test_masks_are_found_in_a_folder_of_their_own(tmp_path: Path, name: str) -> None:
    folder = folder_with(tmp_path / "pictures", ("a.jpg", Image.new("RGB", (64, 64))))
    masks = folder_with(tmp_path / "conditioning", (name, blob(Size(64, 64), (0.5, 0.5))))
    (one,) = with_masks(read(folder), replace(FOUND, folder=masks)).examples
    assert one.mask is not None


def test_the_alpha_channel_is_a_mask_upright_as_the_picture_is(tmp_path: Path) -> None:
    picture = Image.new("RGB", (96, 48), "red")
    picture.putalpha(blob(WIDE, (0.2, 0.1)))
    exif = Image.Exif()
    exif[274] = 6
    tmp_path.mkdir(exist_ok=True)
    picture.save(tmp_path / "a.png", exif=exif)
    Image.new("RGBA", (32, 32), (0, 0, 255, 255)).save(tmp_path / "opaque.png")
    turned, opaque = with_masks(read(tmp_path), replace(FOUND, alpha=True)).examples
    assert turned.size == Size(96, 48)
    assert opaque.mask is None
    assert turned.mask is not None
    down, right = turned.mask.centre
    assert down < 0.2
    assert right > 0.7
    draw = draw_of(turned, Size(32, 32), "mask")
    weights = source().weights([replace(draw, view=replace(draw.view, flip=False))], Size(4, 4))
    assert weights is not None
    assert weights[0, 0, 0].max() > weights[0, 0, 3].max()


def test_crops_are_centred_on_the_mask_as_far_as_the_picture_goes(tmp_path: Path) -> None:
    size = Size(64, 160)
    for name, right in (("left", 0.05), ("right", 0.8), ("middle", 0.5)):
        folder_with(tmp_path, (f"{name}.png", Image.new("RGB", (160, 64))))
        folder_with(tmp_path, (f"{name}-masklabel.png", blob(size, (0.5, right))))
    by_id = {one.id: one for one in with_masks(read(tmp_path), FOUND).examples}
    settings = ViewSettings("mask", flip=False, seed=0)
    corners = {
        id: view_of(one, Size(64, 64), settings=settings, epoch=0, copy=0).crop_top_left.left
        for id, one in by_id.items()
    }
    assert corners["left.png"] == 0
    assert corners["middle.png"] == pytest.approx(48, abs=1)
    assert corners["right.png"] == pytest.approx(96, abs=1)
    assert view_of(replace(by_id["left.png"], mask=None), Size(64, 64), settings=settings, epoch=0, copy=0) == view_of(
        replace(by_id["left.png"], mask=None), Size(64, 64), settings=replace(settings, crop="center"), epoch=0, copy=0
    )


def test_a_flipped_crop_on_the_mask_shows_the_same_part_mirrored(tmp_path: Path) -> None:
    folder_with(tmp_path, ("a.png", blob(WIDE, (0.5, 0.8)).convert("RGB")), ("a-masklabel.png", blob(WIDE, (0.5, 0.8))))
    (one,) = with_masks(read(tmp_path), FOUND).examples
    draws = [draw_of(one, Size(32, 32), "mask", epoch) for epoch in range(12)]
    plain = next(draw for draw in draws if not draw.view.flip)
    mirrored = next(draw for draw in draws if draw.view.flip)
    weights = source().weights([plain, mirrored], Size(4, 4))
    assert weights is not None
    torch.testing.assert_close(weights[0], weights[1].flip(-1), atol=0.1, rtol=0)


def test_what_is_outside_counts_the_unmasked_weight_and_class_images_count_whole(tmp_path: Path) -> None:
    spot = blob(Size(64, 64), (0.5, 0.5), 20)
    folder_with(tmp_path, ("a.png", Image.new("RGB", (64, 64))), ("a-masklabel.png", spot))
    folder_with(tmp_path, ("b.png", Image.new("RGB", (64, 64), "red")))
    masked, bare = with_masks(read(tmp_path), FOUND).examples
    draws = [draw_of(one, Size(64, 64)) for one in (masked, bare)]
    twin = replace(draws[0], example=replace(masked, role=Role.CLASS))
    weights = source(unmasked_weight=0.25).weights([*draws, twin], Size(8, 8))
    assert weights is not None
    assert weights[0].min() == 0.25
    assert weights[0].max() == 1
    assert bool((weights[1:] == 1).all())
    assert source().weights([draws[1], twin], Size(8, 8)) is None


def test_masks_that_cannot_be_meant_are_refused_all_at_once(tmp_path: Path) -> None:
    for name in ("black", "shape", "broken", "two"):
        folder_with(tmp_path, (f"{name}.png", Image.new("RGB", (64, 64), "red")))
    folder_with(tmp_path, ("black-masklabel.png", Image.new("L", (64, 64))))
    folder_with(tmp_path, ("shape-masklabel.png", Image.new("L", (64, 32), 255)))
    folder_with(tmp_path, ("two-masklabel.png", Image.new("L", (64, 64), 255)))
    folder_with(tmp_path, ("masks/two.png", Image.new("L", (64, 64), 255)))
    (tmp_path / "broken-masklabel.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(DataError) as refused:
        with_masks(read(tmp_path), FOUND)
    said = str(refused.value)
    for part in ("black all over", "64×32 pixels and its picture 64×64", "damaged PNG", "two.png has several masks"):
        assert part in said


def test_pictures_without_masks_are_named_and_masks_asked_for_in_vain_refused(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, ("a.png", Image.new("RGB", (8, 8))), ("b.png", Image.new("RGB", (8, 8), "red")))
    assert with_masks(read(folder), FOUND).notes == ()
    for options in (replace(FOUND, alpha=True), replace(FOUND, folder=folder_with(tmp_path / "none"))):
        with pytest.raises(DataError, match="no picture"):
            with_masks(read(folder), options)
    folder_with(folder, ("a-masklabel.png", Image.new("L", (8, 8), 255)))
    (note,) = with_masks(read(folder), FOUND).notes
    assert "1 picture" in note
    assert "b.png" in note
    assert "data.use_masks" in note


def test_a_mask_that_changes_while_a_run_goes_on_is_refused(tmp_path: Path) -> None:
    folder_with(tmp_path, ("a.png", Image.new("RGB", (64, 64))), ("a-masklabel.png", Image.new("L", (64, 64), 255)))
    (one,) = with_masks(read(tmp_path), FOUND).examples
    folder_with(tmp_path, ("a-masklabel.png", Image.new("L", (64, 64), 200)))
    with pytest.raises(DataError, match=r"mask of a\.png has changed"):
        source().weights([draw_of(one, Size(32, 32))], Size(4, 4))
