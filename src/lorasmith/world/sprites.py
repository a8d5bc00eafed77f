"""Owns the folder of sprites, a transparent PNG per object and style; refuses to know where art comes from."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from PIL import Image


class Sprites(Protocol):
    """Anything that has a transparent picture of each object in each style."""

    def of(self, thing: str, style: str) -> Image.Image:
        """The RGBA sprite, trimmed to what is visible."""
        ...


class SpriteFolder:
    """Sprites kept as `<style>/<object>.png`, each read once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, Image.Image] = {}

    def of(self, thing: str, style: str) -> Image.Image:
        """The RGBA sprite of `thing` in `style`; a FileNotFoundError that names the file when there is none."""
        path = sprite_path(self._folder, thing, style)
        if path not in self._read:
            self._read[path] = Image.open(path).convert("RGBA")
        return self._read[path]


def sprite_path(folder: Path, thing: str, style: str) -> Path:
    """Where the sprite of `thing` in `style` lies below `folder`."""
    return folder / style / f"{thing.replace(' ', '_')}.png"


def write_sprite(folder: Path, thing: str, style: str, sprite: Image.Image) -> Path:
    """Trim `sprite` to its visible part and store it where `SpriteFolder` looks."""
    box = sprite.getchannel("A").point([255 if alpha > 8 else 0 for alpha in range(256)]).getbbox()
    if box is None:
        raise ValueError(f"the sprite of {thing!r} in {style!r} style is empty")
    path = sprite_path(folder, thing, style)
    path.parent.mkdir(parents=True, exist_ok=True)
    sprite.crop(box).save(path)
    return path
