"""Owns small made-up pictures, each different, with captions if wanted; knows no dataset."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from PIL import Image, ImageDraw

from lorasmith.sizes import Size

_COLOURS = ("red", "green", "blue", "yellow", "magenta", "cyan", "orange", "purple", "white", "brown")
_BACKGROUNDS = ("navy", "gray", "beige", "darkgreen", "black", "pink", "lightblue")


def pictures(
    folder: Path,
    count: int,
    *,
    size: Size = Size(64, 64),
    captions: Sequence[str] = (),
    suffix: Literal[".png", ".jpg", ".webp", ".bmp"] = ".png",
) -> tuple[Path, ...]:
    """Write `picture-000.png`, … to `folder`; given captions go to same-named `.txt` files, the last one repeating."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"picture-{number:03d}{suffix}" for number in range(count))
    for number, path in enumerate(paths):
        _draw(number, size).save(path)
        if captions:
            path.with_suffix(".txt").write_text(captions[min(number, len(captions) - 1)] + "\n", encoding="utf-8")
    return paths


def _draw(number: int, size: Size) -> Image.Image:
    """One shape on a background; colour, shape, size and place depend on `number`."""
    picture = Image.new("RGB", (size.width, size.height), _BACKGROUNDS[number % len(_BACKGROUNDS)])
    canvas = ImageDraw.Draw(picture)
    side = min(size) * (3 + number % 4) // 8
    left = (size.width - side) * (1 + number % 3) // 4
    top = (size.height - side) * (1 + number // 3 % 3) // 4
    box = (left, top, left + side, top + side)
    colour = _COLOURS[number % len(_COLOURS)]
    if number % 2:
        canvas.rectangle(box, fill=colour)
    else:
        canvas.ellipse(box, fill=colour)
    return picture
