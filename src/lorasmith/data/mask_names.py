"""Owns how masks are named beside their pictures, in the ways of other trainers; opens none.

`NAME-masklabel.png` beside the picture is OneTrainer's; the picture's own name in another folder is ai-toolkit's, and
kohya's for conditioning images.
"""

from pathlib import Path

MASK_FOLDER = "masks"
"""A folder of this name among the pictures holds their masks."""
_ENDING = "-masklabel"
_ENDINGS = (_ENDING, "-condlabel")
_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


def is_called_a_mask(path: Path) -> bool:
    """Whether a file's name says that it belongs to a picture and is none itself."""
    return path.stem.lower().endswith(_ENDINGS)


def mask_beside(picture: Path) -> Path:
    """Where the mask of a picture belongs when it stands beside it."""
    return picture.with_name(f"{picture.stem}{_ENDING}.png")


def possible_masks(picture: Path, folder: Path | None) -> list[Path]:
    """Where the mask of a picture may be: in the folder of masks, or (without one) beside it and in `masks`."""
    beside = picture.parent
    names = [(folder or beside / MASK_FOLDER, picture.stem), (folder or beside, f"{picture.stem}{_ENDING}")]
    return [place / f"{name}{suffix}" for place, name in names for suffix in _SUFFIXES]
