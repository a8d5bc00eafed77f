"""Owns the reading of emoji art, from unpacked registry packages into sprites; refuses share-alike art."""

from __future__ import annotations

import importlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .catalogue import HELD_OUT_OBJECTS, OBJECTS, WorldObject
from .drawing_styles import mosaic, outlined
from .shipped import SHIPPED_STYLES
from .sprites import Sprites, sprite_path, write_sprite

_NOTO_SIZE: Final = 109  # the one size of the bitmaps in NotoColorEmoji.ttf
_SVG_SIDE: Final = 256
_SHIPPED_SIDE_PX: Final = 128  # the longest a sprite is drawn in a picture of 64 pixels, composed at twice its size


@dataclass(frozen=True, slots=True)
class ArtFolders:
    """Where the unpacked packages lie: the Noto colour font, Fluent 3D (webp), Fluent flat (svg), Twemoji (svg)."""

    noto_font: Path
    fluent_3d: Path
    fluent_flat: Path
    twemoji: Path


def write_sprites(art: ArtFolders, folder: Path) -> int:
    """Draw every object in every style and store the sprites below `folder`; the number written."""
    draw: dict[str, Callable[[WorldObject], Image.Image]] = {
        "noto": lambda thing: read_noto(art.noto_font, thing.codepoint),
        "3d": lambda thing: _read_webp(_find(art.fluent_3d, thing.codepoint, "webp")),
        "outline": lambda thing: outlined(_read_svg(_find(art.fluent_flat, thing.codepoint, "svg"))),
        "pixel": lambda thing: mosaic(read_noto(art.noto_font, thing.codepoint)),
        "twemoji": lambda thing: _read_svg(_find(art.twemoji, thing.codepoint, "svg")),
    }
    jobs = [(thing, style) for thing in (*OBJECTS, *HELD_OUT_OBJECTS) for style in draw]
    for thing, style in jobs:
        write_sprite(folder, thing.name, style, draw[style](thing))
    return len(jobs)


def ship_sprites(sprites: Sprites, folder: Path) -> int:
    """Store every object in the styles that may be passed on, small enough to be shipped; the bytes written."""
    written = 0
    for style in SHIPPED_STYLES:
        for thing in (*OBJECTS, *HELD_OUT_OBJECTS):
            path = sprite_path(folder, thing.name, style)
            path.parent.mkdir(parents=True, exist_ok=True)
            _compact(_shrunk(sprites.of(thing.name, style), style), style).save(path, optimize=True)
            written += path.stat().st_size
    return written


def read_noto(font: Path, codepoint: str) -> Image.Image:
    """The bitmap of one code point in a colour emoji font."""
    face = ImageFont.truetype(str(font), _NOTO_SIZE)
    canvas = Image.new("RGBA", (136, 128))
    text = chr(int(codepoint, 16))
    ImageDraw.Draw(canvas).text((0, 0), text, font=face, embedded_color=True, anchor="lt")
    return canvas


def _shrunk(sprite: Image.Image, style: str) -> Image.Image:
    if style == "pixel":  # from 16 pixels a cell to 8, no pixel mixed with another
        return sprite.resize((sprite.width // 2, sprite.height // 2), Image.Resampling.NEAREST)
    ratio = min(1.0, _SHIPPED_SIDE_PX / max(sprite.size))
    width, height = (round(length * ratio) for length in sprite.size)
    return sprite.resize((width, height), Image.Resampling.LANCZOS)


def _compact(sprite: Image.Image, style: str) -> Image.Image:
    """In the form in which PNG takes least: nothing where nothing is seen, 64 shades of 3D art, grey ink, a palette."""
    pixels = np.array(sprite)
    if style == "3d":
        pixels = np.minimum((pixels.astype(np.int32) + 2) // 4 * 4, 255).astype(np.uint8)
        pixels[pixels >= 252] = 255
    pixels[pixels[..., 3] == 0] = 0
    cleared = Image.fromarray(pixels, "RGBA")
    match style:
        case "outline":
            return cleared.convert("LA")
        case "pixel":
            return cleared.quantize(len(cleared.getcolors() or ()), method=Image.Quantize.FASTOCTREE)
        case _:
            return cleared


def _find(folder: Path, codepoint: str, suffix: str) -> Path:
    candidates = [folder / f"{codepoint}{variation}.{suffix}" for variation in ("", "-fe0f")]
    found = next((path for path in candidates if path.exists()), None)
    if found is None:
        raise FileNotFoundError(f"no {suffix} picture of U+{codepoint.upper()} in {folder}")
    return found


def _read_webp(path: Path) -> Image.Image:
    return Image.open(path).convert("RGBA")


def _read_svg(path: Path) -> Image.Image:
    """Rasterise with resvg, an extra of the builder alone."""
    try:
        resvg: Any = importlib.import_module("resvg_py")
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError("reading SVG art needs resvg_py: pip install 'lorasmith[base]'") from missing
    png = bytes(resvg.svg_to_bytes(svg_path=str(path), width=_SVG_SIDE, height=_SVG_SIDE))
    return Image.open(io.BytesIO(png)).convert("RGBA")
