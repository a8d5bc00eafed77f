"""Owns the emoji world, pictures whose every factor is known, and its captions; refuses tensors and networks."""

from .captions import background_phrase, prompt_of, sample_caption
from .catalogue import (
    BACKGROUNDS,
    CATEGORIES,
    COLOURS,
    HELD_OUT_OBJECTS,
    HELD_OUT_STYLES,
    OBJECTS,
    PLACES_OF_SCENES,
    STYLES,
    WorldObject,
    find_object,
)
from .compose import render
from .scene import PLACES, SIZES, TILTS, Place, Scene, Size, Tilt, sample_scene
from .sprites import SpriteFolder, Sprites

__all__ = [
    "BACKGROUNDS",
    "CATEGORIES",
    "COLOURS",
    "HELD_OUT_OBJECTS",
    "HELD_OUT_STYLES",
    "OBJECTS",
    "PLACES",
    "PLACES_OF_SCENES",
    "SIZES",
    "STYLES",
    "TILTS",
    "Place",
    "Scene",
    "Size",
    "SpriteFolder",
    "Sprites",
    "Tilt",
    "WorldObject",
    "background_phrase",
    "find_object",
    "prompt_of",
    "render",
    "sample_caption",
    "sample_scene",
]
