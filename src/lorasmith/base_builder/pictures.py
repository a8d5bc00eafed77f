"""Owns the composing of the training pictures into one array on disk; refuses captions and latents."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..world import Scene, SpriteFolder, Sprites, render, sample_scene, shipped_sprites
from .recipe import Recipe, Workshop


def scene_of(recipe: Recipe, index: int) -> Scene:
    """The scene of training picture `index`."""
    return sample_scene(recipe.seed, index)


def compose_pictures(recipe: Recipe, workshop: Workshop) -> Path:
    """Write all training pictures, uint8 (count, side, side, 3)."""
    shape = (recipe.pictures, recipe.side_px, recipe.side_px, 3)
    pictures = np.lib.format.open_memmap(workshop.pictures, mode="w+", dtype=np.uint8, shape=shape)
    sprites = workshop_sprites(workshop)
    for index in range(recipe.pictures):
        pictures[index] = compose_one(recipe, sprites, index)
    pictures.flush()
    return workshop.pictures


def workshop_sprites(workshop: Workshop) -> Sprites:
    """The sprites read from the art, or those of the package where no art was read."""
    return SpriteFolder(workshop.sprites) if workshop.sprites.is_dir() else shipped_sprites()


def compose_one(recipe: Recipe, sprites: Sprites, index: int) -> npt.NDArray[np.uint8]:
    """Training picture `index`, uint8 (side, side, 3)."""
    return np.asarray(render(scene_of(recipe, index), sprites, side=recipe.side_px))
