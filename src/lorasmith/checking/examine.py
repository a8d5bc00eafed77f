"""Owns looking at one file: whether it can be trained on, and if so everything that is measured of it."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lorasmith.checking.faces import FaceDetector
from lorasmith.checking.files import FileFacts, read_facts
from lorasmith.checking.measures import Measures, measure
from lorasmith.data.decode import decode
from lorasmith.errors import DataError
from lorasmith.sizes import Size

VERSION = 3
"""Counts up with every change of what is measured, so that older results are not taken for new ones."""

_MOST_BYTES_A_PIXEL = 8
"""16 bits in each of four channels, without compression."""
_NOTES = 64 * 2**20
"""Room for EXIF, previews and profiles."""


@dataclass(frozen=True)
class Examination:
    """What is known of one file's bytes; a function of them alone, and so kept by them."""

    size: Size | None
    """Upright; None when it cannot be read."""
    facts: FileFacts | None
    measures: Measures | None
    refusal: str | None = None
    """Why it cannot be read."""
    remedy: str | None = None
    faces: tuple[float, ...] | None = None
    """Heights of the faces as shares of the picture's, the largest first; None where nobody looked."""


def examine(path: Path, *, background: str, pixel_limit: int, detector: FaceDetector | None = None) -> Examination:
    """Decode a file to its end and measure it; a file that cannot be read is a result, not an error."""
    try:
        _refuse_heavy(path, pixel_limit)
        picture = decode(path, background=background, pixel_limit=pixel_limit)
    except DataError as error:
        first = error.problems[0]
        return Examination(None, None, None, first.what, first.remedy)
    faces = None if detector is None else detector.heights(picture)
    return Examination(Size(picture.height, picture.width), read_facts(path), measure(picture), faces=faces)


def content_hash(path: Path) -> str | None:
    """The SHA-256 of the file's bytes, in hex digits, without holding them all; None when it cannot be opened."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def _refuse_heavy(path: Path, pixel_limit: int) -> None:
    """A file that could not be written with so few pixels is not read into memory to find that out."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"the file cannot be opened: {error.strerror}") from error
    if size > _MOST_BYTES_A_PIXEL * pixel_limit + _NOTES:
        raise DataError(
            f"the file has {size / 2**20:.0f} MiB, more than {pixel_limit:,} pixels take",
            remedy="Save it smaller, or raise data.pixel_limit if you trust the file.",
        )
