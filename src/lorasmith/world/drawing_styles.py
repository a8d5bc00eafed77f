"""Owns the drawing styles derived from other art, outline and pixel; refuses to read art from disk."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageFilter

_INK = (30, 30, 36)
_MOSAIC_CELLS = 16


def outlined(sprite: Image.Image) -> Image.Image:
    """A line drawing: dark lines where the flat art changes colour, white inside, transparent outside."""
    source = sprite.convert("RGBA")
    padded = Image.new("RGBA", (source.width + 16, source.height + 16))
    padded.paste(source, (8, 8))
    inside = padded.getchannel("A").point([255 if alpha > 127 else 0 for alpha in range(256)])
    width = max(3, round(max(padded.size) / 60)) | 1
    lines = _edges(padded, inside).filter(ImageFilter.MaxFilter(width)).filter(ImageFilter.GaussianBlur(0.8))
    paper = Image.new("RGB", padded.size, (255, 255, 255))
    paper.paste(Image.new("RGB", padded.size, _INK), mask=lines)
    paper.putalpha(Image.fromarray(np.maximum(np.asarray(inside), np.asarray(lines))))
    return paper


def mosaic(sprite: Image.Image) -> Image.Image:
    """Pixel art: a coarse grid of cells, few shades, hard edges."""
    source = sprite.convert("RGBA")
    ratio = _MOSAIC_CELLS / max(source.size)
    width, height = (max(1, round(length * ratio)) for length in source.size)
    cells = np.asarray(source.resize((width, height), Image.Resampling.BOX)).astype(np.int32)
    colour = np.clip((cells[..., :3] + 32) // 64 * 64, 0, 255)
    alpha = np.where(cells[..., 3:] > 110, 255, 0)
    small = Image.fromarray(np.concatenate((colour, alpha), axis=-1).astype(np.uint8), "RGBA")
    return small.resize((width * 16, height * 16), Image.Resampling.NEAREST)


def _edges(sprite: Image.Image, inside: Image.Image) -> Image.Image:
    """Where neighbouring pixels differ in colour or in being inside (uint8 0 or 255)."""
    colours = np.asarray(sprite.convert("RGB")).astype(np.int32)
    mask = np.asarray(inside).astype(np.int32)
    planes = np.concatenate((colours * (mask[..., None] > 0), mask[..., None]), axis=-1)
    difference = np.zeros(mask.shape, dtype=np.int32)
    difference[1:] = np.abs(np.diff(planes, axis=0)).max(axis=-1)
    difference[:, 1:] = np.maximum(difference[:, 1:], np.abs(np.diff(planes, axis=1)).max(axis=-1))
    return Image.fromarray(np.where(difference > 34, 255, 0).astype(np.uint8))
