"""Owns which class images are there and which are still to be drawn; draws none itself and never counts half a file.

Each class image has an index, and its picture depends on nothing but the seed and the index: drawing can stop
anywhere and go on later with the same pictures. Pictures that somebody else put into the folder count as well.
"""

from collections.abc import Callable, Sequence
from io import BytesIO
from itertools import count, islice
from pathlib import Path

from PIL import Image

from lorasmith.atomic import NO_SPACE, write_whole
from lorasmith.data.read import picture_files
from lorasmith.data.wording import shown
from lorasmith.errors import DataError, ResourceError
from lorasmith.events import Emit, WorkDone

DrawClassImages = Callable[[Sequence[int]], list[Image.Image]]
"""From indices to pictures, one each; what picture an index gives must not depend on the other indices."""


def class_images(folder: Path) -> list[Path]:
    """The class images that are there, in order of their names; none if the folder does not exist yet."""
    return picture_files(folder) if _is_folder(folder) else []


def missing_class_images(folder: Path, wanted: int) -> int:
    """How many of the `wanted` class images are not there yet."""
    return max(0, wanted - len(class_images(folder)))


def class_image_path(folder: Path, index: int, seed: int) -> Path:
    """Where the class image of this index and seed belongs."""
    return folder / f"class-{seed}-{index:05d}.png"


def draw_missing_class_images(
    folder: Path, wanted: int, *, draw: DrawClassImages, seed: int, batch_size: int, emit: Emit
) -> int:
    """Draw what is missing of the `wanted` class images and say so as it goes on; how many were drawn.

    Raises ResourceError when they cannot be written; those already there are kept, and calling again goes on.
    """
    indices = _missing_indices(folder, wanted, seed)
    there = wanted - len(indices)
    for start in range(0, len(indices), batch_size):
        batch = indices[start : start + batch_size]
        for index, picture in zip(batch, draw(batch), strict=True):
            _write(class_image_path(folder, index, seed), picture)
        emit(WorkDone("drawing class images", there + start + len(batch), wanted))
    return len(indices)


def _missing_indices(folder: Path, wanted: int, seed: int) -> list[int]:
    free = (index for index in count() if not class_image_path(folder, index, seed).exists())
    return list(islice(free, missing_class_images(folder, wanted)))


def _is_folder(folder: Path) -> bool:
    if folder.exists() and not folder.is_dir():
        raise DataError(
            f"{shown(folder)} is a file, not a folder",
            where="prior.class_images",
            remedy="Give a folder; it may be empty or not there yet.",
        )
    return folder.exists()


def _write(path: Path, picture: Image.Image) -> None:
    """As PNG; while it is written it has a hidden name, which is never listed as a picture."""
    encoded = BytesIO()
    picture.save(encoded, "PNG")
    try:
        write_whole(path, encoded.getvalue())
    except OSError as error:
        why = "the disk is full" if error.errno in NO_SPACE else str(error.strerror)
        raise ResourceError(
            f"class images cannot be written: {why}",
            where=shown(path.parent),
            remedy="Make room and run again: the class images that are there are kept.",
        ) from error
