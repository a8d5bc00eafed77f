"""Owns which part of a picture counts: finds masks beside pictures, reads them and lays them over latents.

A mask goes through the same resize, mirror and crop as its picture, which may be its own alpha channel.
"""
# numpy and torch do not tell each other the types of their arrays.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from lorasmith.config.data import Interpolation
from lorasmith.data.decode import alpha_of, content_of, decode
from lorasmith.data.examples import Draw, Example, Mask, Role, View
from lorasmith.data.mask_names import possible_masks
from lorasmith.data.views import cut_grey, resize
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError, Problem
from lorasmith.sizes import Size

_SHAPE_TOLERANCE = 0.02
_KEPT = 4096


@dataclass(frozen=True)
class MaskOptions:
    """Where masks are: in `folder`, beside the pictures (None), or in the pictures' own alpha channel."""

    folder: Path | None
    alpha: bool
    pixel_limit: int


@dataclass(frozen=True)
class Masked:
    """Examples with the masks that were found, and what a person should know of them."""

    examples: tuple[Example, ...]
    notes: tuple[str, ...]


def with_masks(examples: Sequence[Example], options: MaskOptions) -> Masked:
    """The examples with their masks; those without one count whole. Raises DataError with all that is wrong."""
    _refuse_missing(options)
    found: list[Example] = []
    problems: list[Problem] = []
    for example in examples:
        try:
            found.append(_with_mask(example, options))
        except DataError as error:
            problems.extend(error.problems)
    if problems:
        raise DataError.of(problems)
    return Masked(tuple(found), _notes(found, options))


def mask_in(path: Path, size: Size, *, pixel_limit: int) -> Mask:
    """The mask that a file is to a picture of the upright `size`. Raises DataError where it does not fit."""
    grey = _grey(path, pixel_limit)
    _refuse_other_shape(Size(grey.height, grey.width), size, path)
    return Mask(path, "file", content_of(path), _centre_of(grey, path))


class MaskSource:
    """What each place of some draws' latents counts; the last few thousand answers are kept."""

    def __init__(self, interpolation: Interpolation, *, pixel_limit: int, unmasked_weight: float) -> None:
        """`unmasked_weight` is what a place outside of a mask counts, beside 1."""
        self._interpolation: Interpolation = interpolation
        self._pixel_limit = pixel_limit
        self._floor = unmasked_weight
        self._kept: OrderedDict[tuple[str, View, Size], Tensor] = OrderedDict()

    def weights(self, draws: Sequence[Draw], size: Size) -> Tensor | None:
        """[B, 1, h, w] in 0…1 for latents of `size`; None where all of all draws counts.

        Class images and twins count whole: what keeps the class is not what is learnt.
        """
        masks = [draw.example.mask if draw.example.role is Role.INSTANCE else None for draw in draws]
        if not any(masks):
            return None
        whole = torch.ones(1, *size)
        return torch.stack(
            [whole if mask is None else self._of(mask, draw, size) for mask, draw in zip(masks, draws, strict=True)]
        )

    def _of(self, mask: Mask, draw: Draw, size: Size) -> Tensor:
        key = (mask.content, draw.view, size)
        weights = self._kept.pop(key, None)
        if weights is None:
            weights = self._laid(mask, draw, size)
        self._kept[key] = weights
        if len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return weights

    def _laid(self, mask: Mask, draw: Draw, size: Size) -> Tensor:
        """[1, h, w]: the mean of the mask's pixels under each place."""
        _refuse_changed(mask, draw.example)
        grey = _grey(mask.path, self._pixel_limit) if mask.kind == "file" else _alpha(draw.example, self._pixel_limit)
        pixels = cut_grey(resize(grey, draw.view, self._interpolation), draw.view)
        return functional.adaptive_avg_pool2d(pixels.unsqueeze(0), size).clamp(min=self._floor)


def _with_mask(example: Example, options: MaskOptions) -> Example:
    if options.alpha:
        return _with_alpha(example, options.pixel_limit)
    path = _file_of(example, options.folder)
    mask = None if path is None else mask_in(path, example.size, pixel_limit=options.pixel_limit)
    return replace(example, mask=mask)


def _with_alpha(example: Example, pixel_limit: int) -> Example:
    alpha = alpha_of(example.path, pixel_limit=pixel_limit)
    if alpha is None or alpha.getextrema() == (255, 255):
        return example
    content = hashlib.sha256(f"alpha {example.content}".encode()).hexdigest()
    return replace(example, mask=Mask(example.path, "alpha", content, _centre_of(alpha, example.path)))


def _file_of(example: Example, folder: Path | None) -> Path | None:
    """The one file that is the picture's mask, if there is one."""
    found = [path for path in possible_masks(example.path, folder) if path.is_file()]
    if len(found) > 1:
        raise DataError(
            f"{shown(example.id)} has several masks: {listed([path.name for path in found])}",
            where=shown(found[0].parent),
            remedy="Keep one of them.",
        )
    return found[0] if found else None


def _refuse_missing(options: MaskOptions) -> None:
    if options.folder is not None and not options.folder.is_dir():
        raise DataError(
            f"there is no folder {shown(options.folder)}", where="data.masks", remedy="Give the folder of the masks."
        )


def _notes(examples: Sequence[Example], options: MaskOptions) -> tuple[str, ...]:
    bare = [example.id for example in examples if example.mask is None]
    named = options.alpha or options.folder is not None
    if len(bare) == len(examples):
        if named:
            what = "is transparent anywhere" if options.alpha else "has a mask in it"
            where = "data.alpha_mask" if options.alpha else "data.masks"
            remedy = "Masks are named like their pictures: 1.png for 1.jpg." if not options.alpha else "Leave it out."
            raise DataError(f"no picture {what}, so that all of each would be learnt", where=where, remedy=remedy)
        return ()
    masked = len(examples) - len(bare)
    whole = f"; all counts of {counted(len(bare), 'other')}: {listed(bare)}" if bare else ""
    off = "" if named else " (data.use_masks = false trains on whole pictures)"
    return (f"masks say what counts of {counted(masked, 'picture')}{whole}{off}",)


def _grey(path: Path, pixel_limit: int) -> Image.Image:
    return decode(path, background="black", pixel_limit=pixel_limit).convert("L")


def _alpha(example: Example, pixel_limit: int) -> Image.Image:
    alpha = alpha_of(example.path, pixel_limit=pixel_limit)
    assert alpha is not None, "its bytes are those in which a transparent part was found"
    return alpha


def _centre_of(grey: Image.Image, path: Path) -> tuple[float, float]:
    """The centre of mass as shares of height and width."""
    values = np.asarray(grey, dtype=np.int64)
    total = int(values.sum())
    if total == 0:
        raise DataError(
            "the mask is black all over, so that nothing of its picture would be learnt",
            where=shown(path),
            remedy="Paint white what is to be learnt, or take picture and mask out.",
        )
    height, width = values.shape
    down = int((values.sum(1) * (2 * np.arange(height) + 1)).sum())
    right = int((values.sum(0) * (2 * np.arange(width) + 1)).sum())
    return down / (2 * total * height), right / (2 * total * width)


def _refuse_other_shape(mask: Size, picture: Size, path: Path) -> None:
    shapes = mask.width * picture.height / (mask.height * picture.width)
    if abs(shapes - 1) > _SHAPE_TOLERANCE:
        raise DataError(
            f"the mask is {mask} pixels and its picture {picture}: another shape",
            where=shown(path),
            remedy="Draw the mask on the whole upright picture.",
        )


def _refuse_changed(mask: Mask, example: Example) -> None:
    known = mask.content if mask.kind == "file" else example.content
    if content_of(mask.path) != known:
        raise DataError(
            f"the mask of {shown(example.id)} has changed since the run began",
            where=shown(mask.path, limit=300),
            remedy="Leave masks and pictures alone while a run goes on, and start it again.",
        )
