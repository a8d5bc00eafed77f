"""Owns where the base that ships inside the package lies; refuses to load it."""

from __future__ import annotations

from pathlib import Path


def path() -> Path:
    """The folder of the embedded base, a StableDiffusionXLPipeline in the diffusers layout."""
    return Path(__file__).parent / "base"
