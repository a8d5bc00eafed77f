"""The art inside the package is complete, small, found without a checkout, licensed, and never share-alike or CC-BY."""

from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorasmith.world import (
    HELD_OUT_OBJECTS,
    OBJECTS,
    SHIPPED_STYLES,
    Scene,
    art_folder,
    art_sources,
    find_object,
    render,
    shipped_sprites,
)
from lorasmith.world.sprites import SpriteFolder, write_sprite

THINGS = (*OBJECTS, *HELD_OUT_OBJECTS)
ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("style", SHIPPED_STYLES)
def test_every_object_has_a_sprite_large_enough_for_64_pixels(style: str) -> None:
    sides = [max(shipped_sprites().of(thing.name, style).size) for thing in THINGS]
    assert len(sides) == 85
    assert 100 <= min(sides) <= max(sides) <= 128


def test_the_art_is_read_from_the_installed_package_and_takes_little() -> None:
    shipped = [path for style in files("lorasmith.world").joinpath("art").iterdir() for path in _files_of(str(style))]
    assert len([path for path in shipped if path.suffix == ".png"]) == 85 * len(SHIPPED_STYLES)
    assert sum(path.stat().st_size for path in shipped) <= 2.5e6


def _files_of(path: str) -> list[Path]:
    return list(Path(path).iterdir()) if Path(path).is_dir() else [Path(path)]


def test_only_styles_that_may_be_passed_on_are_there() -> None:
    assert {path.name for path in art_folder().iterdir() if path.is_dir()} == set(SHIPPED_STYLES)
    assert "twemoji" not in SHIPPED_STYLES


@pytest.mark.parametrize(
    ("style", "licence"),
    [
        ("noto", "noto-emoji-Apache-2.0.txt"),
        ("pixel", "noto-emoji-Apache-2.0.txt"),
        ("3d", "fluent-emoji-MIT.txt"),
        ("outline", "fluent-emoji-MIT.txt"),
    ],
)
def test_each_style_has_the_licence_of_its_art_beside_it_and_is_named_in_the_notice(style: str, licence: str) -> None:
    beside = (art_folder() / style / "LICENSE.txt").read_text(encoding="utf-8")
    assert beside == (ROOT / "licenses" / licence).read_text(encoding="utf-8")
    assert f"src/lorasmith/world/art/{style}" in (ROOT / "NOTICE").read_text(encoding="utf-8")


def test_shipped_sprites_draw_what_the_larger_ones_of_the_build_draw(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(art_sources, "OBJECTS", (find_object("owl"),))
    monkeypatch.setattr(art_sources, "HELD_OUT_OBJECTS", ())
    for style in SHIPPED_STYLES:
        sprite = shipped_sprites().of("owl", style)
        kept_hard = Image.Resampling.NEAREST if style == "pixel" else Image.Resampling.LANCZOS
        write_sprite(tmp_path / "large", "owl", style, sprite.resize((sprite.width * 2, sprite.height * 2), kept_hard))
    art_sources.ship_sprites(SpriteFolder(tmp_path / "large"), tmp_path / "small")
    for style in SHIPPED_STYLES:
        folders = [SpriteFolder(tmp_path / name) for name in ("large", "small")]
        large, small = (np.asarray(render(Scene("owl", style, "pink"), folder)).astype(np.int32) for folder in folders)
        assert max(folders[1].of("owl", style).size) <= 128
        assert np.abs(large - small).mean() < 3, style
