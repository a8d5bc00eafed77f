"""Owns pictures inside the page: small, upright, as data addresses; a picture that cannot be read becomes none."""

import base64
from io import BytesIO
from pathlib import Path

from PIL import Image

from lorasmith.data.decode import decode
from lorasmith.errors import DataError

LARGEST_SIDE = 280
"""Pixels along a thumbnail's longer side; smaller pictures keep their size."""


def data_address(path: Path, *, pixel_limit: int) -> str | None:
    """A `data:` address with the picture as training sees it, as WebP (as PNG up to 128 pixels)."""
    try:
        small = decode(path, background="white", pixel_limit=pixel_limit)
    except DataError:
        return None
    small.thumbnail((LARGEST_SIDE, LARGEST_SIDE), Image.Resampling.LANCZOS)
    kind = "png" if max(small.size) <= 128 else "webp"
    content = BytesIO()
    small.save(content, kind, quality=82)
    return f"data:image/{kind};base64,{base64.b64encode(content.getvalue()).decode()}"
