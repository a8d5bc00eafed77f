"""Sprites come back trimmed, and missing or empty ones are named."""

from pathlib import Path

import pytest
from PIL import Image

from lorasmith.world import SpriteFolder
from lorasmith.world.sprites import write_sprite


def test_a_sprite_is_stored_without_its_empty_margin(tmp_path: Path) -> None:
    sprite = Image.new("RGBA", (50, 40))
    sprite.paste((255, 0, 0, 255), (10, 5, 30, 35))
    write_sprite(tmp_path, "palm tree", "3d", sprite)
    assert SpriteFolder(tmp_path).of("palm tree", "3d").size == (20, 30)


def test_an_empty_sprite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'apple' in 'noto' style is empty"):
        write_sprite(tmp_path, "apple", "noto", Image.new("RGBA", (8, 8)))


def test_a_missing_sprite_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"palm_tree\.png"):
        SpriteFolder(tmp_path).of("palm tree", "3d")
