"""Owns the recipes that ship with lorasmith: which there are and where each one's file is; reads none."""

from pathlib import Path
from typing import get_args

from lorasmith.config.train import RecipeName

_FOLDER = Path(__file__).parent


def recipe_names() -> tuple[str, ...]:
    """The names that `--recipe` takes."""
    return get_args(RecipeName)


def recipe_file(name: str) -> Path:
    """The TOML file of a recipe; it opens with a comment that says what it is for and why its numbers."""
    return _FOLDER / f"{name}.toml"
