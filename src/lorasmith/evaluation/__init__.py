"""Owns the reading of pictures of the emoji world and what is measured of them; refuses to train or to draw."""

from .factors import FACTORS, SCENE_FACTORS, TRAIT_FACTORS, VALUES, Factor, prompted_factors, value_of
from .oracle import Guess, Oracle, Reading, open_oracle
from .oracle_examination import Marks, mark
from .tiny_clip import TinyClip, open_tiny_clip

__all__ = [
    "FACTORS",
    "SCENE_FACTORS",
    "TRAIT_FACTORS",
    "VALUES",
    "Factor",
    "Guess",
    "Marks",
    "Oracle",
    "Reading",
    "TinyClip",
    "mark",
    "open_oracle",
    "open_tiny_clip",
    "prompted_factors",
    "value_of",
]
