"""Owns finding the unpacked emoji packages below one folder; refuses to unpack or to fetch them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from ..errors import DataError
from ..world.art_sources import ArtFolders

_MARKS: Final = {
    "noto_font": ("NotoColorEmoji.ttf", "the Noto colour font"),
    "fluent_3d": ("*fluent-emoji-3d*/assets", "Fluent 3D"),
    "fluent_flat": ("*fluent-emoji-flat*/assets", "Fluent flat"),
    "twemoji": ("*twemoji*svg*/1f600.svg", "Twemoji"),
}


def find_art(folder: Path) -> ArtFolders:
    """The four packages below `folder`; a DataError that names each one missing."""
    found = {name: next(iter(sorted(folder.rglob(mark))), None) for name, (mark, _) in _MARKS.items()}
    missing = [_MARKS[name][1] for name, path in found.items() if path is None]
    if missing:
        raise DataError(
            f"no art of {', '.join(missing)} below {folder}",
            where="--art",
            remedy="docs/embedded-base.md says which packages to unpack there.",
        )
    noto, fluent_3d, fluent_flat, twemoji = (path for path in found.values() if path is not None)
    return ArtFolders(noto, fluent_3d, fluent_flat, twemoji.parent)
