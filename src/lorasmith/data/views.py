"""Owns how a picture is resized, mirrored and cut; draws are counted, so that asking twice gives the same view."""
# numpy and torch do not tell each other the types of their arrays.
# pyright: reportUnknownMemberType=false

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lorasmith import rng
from lorasmith.config.data import Interpolation
from lorasmith.data.examples import Example, View
from lorasmith.sizes import Corner, Size

Crop = Literal["center", "random", "mask"]

_FILTERS: dict[Interpolation, Image.Resampling] = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
    "nearest": Image.Resampling.NEAREST,
}


@dataclass(frozen=True)
class ViewSettings:
    """Where pictures are cut, whether they are mirrored with even odds, and the seed of both draws."""

    crop: Crop
    flip: bool
    seed: int

    @property
    def are_few(self) -> bool:
        """Whether a picture has so few views (one, or two with flips) that encoding each once pays."""
        return has_few_views(self.crop)


def has_few_views(crop: Crop) -> bool:
    """Whether pictures are cut at the same place in each epoch."""
    return crop != "random"


AS_IT_IS = ViewSettings(crop="center", flip=False, seed=0)
"""The one view that is never drawn: the middle, not mirrored. Validation looks at pictures so."""

AROUND_MASKS = ViewSettings(crop="mask", flip=False, seed=0)
"""The same around the middle of each picture's mask."""


def view_of(example: Example, target: Size, *, settings: ViewSettings, epoch: int, copy: int) -> View:
    """How `example` is cut to `target` in this epoch and copy; coordinates are of the resized, flipped picture."""
    resized = covering(example.size, target)
    flip = settings.flip and rng.python_random(settings.seed, "flip", epoch, example.id, copy).random() < 0.5
    match settings.crop:
        case "center":
            corner = _centre(resized, target)
        case "random":
            draw = rng.python_random(settings.seed, "crop", epoch, example.id, copy)
            free = Size(resized.height - target.height, resized.width - target.width)
            corner = Corner(draw.randint(0, free.height), draw.randint(0, free.width))
        case "mask":
            corner = _around_mask(example, resized, target, flip=flip)
        case _:
            assert_never(settings.crop)
    return View(example.size, resized, corner, target, flip)


def covering(size: Size, target: Size) -> Size:
    """The smallest size of the same shape that covers `target`: equal on one side, never smaller on the other."""
    if target.height * size.width >= target.width * size.height:
        return Size(target.height, size.width * target.height // size.height)
    return Size(size.height * target.width // size.width, target.width)


def resize(picture: Image.Image, view: View, interpolation: Interpolation) -> Image.Image:
    """The whole picture at the size the view is cut from."""
    resized = view.resized
    if picture.size == (resized.width, resized.height):
        return picture
    return picture.resize((resized.width, resized.height), _FILTERS[interpolation])


def cut(resized: Image.Image, view: View) -> Tensor:
    """The view's part of the resized picture, mirrored first if it says so: [3, H, W] fp32 in −1…1."""
    values = np.asarray(_part(resized, view), dtype=np.float32) / 127.5 - 1.0
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)))


def cut_grey(resized: Image.Image, view: View) -> Tensor:
    """The same part of a resized grey picture, such as a mask: [H, W] fp32 in 0…1."""
    return torch.from_numpy(np.asarray(_part(resized, view), dtype=np.float32) / 255)


def _part(resized: Image.Image, view: View) -> Image.Image:
    mirrored = resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else resized
    top, left = view.crop_top_left
    return mirrored.crop((left, top, left + view.target.width, top + view.target.height))


def render(picture: Image.Image, view: View, interpolation: Interpolation) -> Tensor:
    """The upright `picture` as the view shows it: [3, H, W] fp32 in −1…1."""
    return cut(resize(picture, view, interpolation), view)


def _centre(resized: Size, target: Size) -> Corner:
    """Halves round to even, as torchvision's centre crop does."""
    return Corner(round((resized.height - target.height) / 2), round((resized.width - target.width) / 2))


def _around_mask(example: Example, resized: Size, target: Size, *, flip: bool) -> Corner:
    """As near to the mask's centre of mass as the picture's edges allow; the middle where there is no mask."""
    if example.mask is None:
        return _centre(resized, target)
    down, right = example.mask.centre
    right = 1 - right if flip else right
    top = round(down * resized.height - target.height / 2)
    left = round(right * resized.width - target.width / 2)
    return Corner(min(max(top, 0), resized.height - target.height), min(max(left, 0), resized.width - target.width))
