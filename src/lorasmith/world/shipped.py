"""Owns where the art inside the package lies, and which styles it has; refuses to draw or to change it."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Final

from .sprites import SpriteFolder

SHIPPED_STYLES: Final = ("noto", "3d", "outline", "pixel")


def art_folder() -> Path:
    """The folder of the shipped sprites, `<style>/<object>.png`, each style's licence beside them."""
    return Path(str(files("lorasmith.world"))) / "art"


@cache
def shipped_sprites() -> SpriteFolder:
    """The sprites of every object, held-out ones too, in the four styles that may be passed on."""
    return SpriteFolder(art_folder())
