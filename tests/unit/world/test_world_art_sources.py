"""Art that is missing is named before anything is drawn half."""

from pathlib import Path

import pytest
from PIL import Image

from lorasmith.world import art_sources, find_object
from lorasmith.world.art_sources import ArtFolders, write_sprites


def test_a_missing_picture_is_named_with_its_code_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn(font: Path, codepoint: str) -> Image.Image:
        return Image.new("RGBA", (8, 8), (255, 0, 0, 255))

    monkeypatch.setattr(art_sources, "read_noto", drawn)
    with pytest.raises(FileNotFoundError, match=r"no webp picture of U\+1F436"):
        write_sprites(ArtFolders(tmp_path, tmp_path, tmp_path, tmp_path), tmp_path / "sprites")


def test_an_object_the_world_lacks_is_named() -> None:
    with pytest.raises(KeyError, match="'sofa'"):
        find_object("sofa")
