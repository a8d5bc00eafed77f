"""Owns pictures inside a page: small, as data addresses; a picture that cannot be read becomes none."""

import base64
import io
from pathlib import Path

from PIL import Image, UnidentifiedImageError

LARGEST_SIDE = 320
"""Pixels along a thumbnail's longer side; smaller pictures keep their size."""


def data_address(path: Path) -> str | None:
    """A `data:` address with the picture as WebP (as PNG up to 128 pixels, where WebP would smear)."""
    try:
        with Image.open(path) as picture:
            return address_of(picture)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError):
        return None


def address_of(picture: Image.Image) -> str:
    """The same of a picture in memory, which stays as it is."""
    small = picture.convert("RGB")
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind = "png" if max(small.size) <= 128 else "webp"
    content = io.BytesIO()
    small.save(content, kind, quality=86)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
