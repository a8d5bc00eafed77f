"""Owns the reading of pictures of the emoji world and what is measured of them; refuses to train or to draw."""

from .factors import FACTORS, SCENE_FACTORS, TRAIT_FACTORS, VALUES, Factor, value_of
from .oracle import Guess, Oracle, Reading, open_oracle
from .tiny_clip import TinyClip, open_tiny_clip

__all__ = [
    "FACTORS",
    "SCENE_FACTORS",
    "TRAIT_FACTORS",
    "VALUES",
    "Factor",
    "Guess",
    "Oracle",
    "Reading",
    "TinyClip",
    "open_oracle",
    "open_tiny_clip",
    "value_of",
]
