"""Owns where the weights that ship with the evaluation lie; refuses to open them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

ORACLE: Final = "oracle.safetensors"
TINY_CLIP: Final = "tiny_clip.safetensors"


def weights_folder() -> Path:
    """The folder of the oracle's and the small CLIP's weights, each with a JSON of how it was made and measured."""
    return Path(__file__).parent / "weights"
