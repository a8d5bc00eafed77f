"""What the tests of importing have in common: folders of pictures, and importing with an answer at hand."""

import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from lorasmith.config.load import load_config
from lorasmith.config.train import TrainConfig
from lorasmith.importing import import_config
from lorasmith.importing.result import Imported, Peer
from lorasmith.importing.toml_page import toml_page


def lay_pictures(
    folder: Path, sizes: Sequence[tuple[int, int]], *, caption: str | None = None, suffix: str = ".txt"
) -> Path:
    """Pictures of these widths and heights, each of a colour of its own, with captions if asked for."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, (width, height) in enumerate(sizes):
        picture = folder / f"picture-{number:02d}.png"
        Image.new("RGB", (width, height), (number * 20 % 256, len(folder.name) % 256, 90)).save(picture)
        if caption is not None:
            picture.with_suffix(suffix).write_text(caption, encoding="utf-8")
    return folder


def write(file: Path, content: object) -> Path:
    """A file of text, or of data as JSON."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return file


def read_back(imported: Imported, folder: Path) -> TrainConfig:
    """The config that the written TOML comes to; nothing of it may be lost on the way."""
    file = write(folder / "imported.toml", toml_page(imported))
    return load_config([file]).config


def bring_in(peer: Peer, *files: Path, gather_to: Path | None = None) -> Imported:
    """Import, and make sure that what is written down reads back as what was found."""
    imported = import_config(peer, files, gather_to=gather_to)
    assert read_back(imported, files[0].parent) == imported.config
    return imported


def scale(imported: Imported) -> float:
    """What the adapter's effect is multiplied by."""
    adapter = imported.config.adapter
    return (adapter.rank if adapter.alpha is None else adapter.alpha) / adapter.rank


def traps(imported: Imported) -> str:
    """All that was seen to, as one text."""
    return "\n".join(f"{one.what}: {one.told}" for one in imported.traps)


def lost(imported: Imported) -> str:
    """All that has no equal, as one text."""
    return "\n".join(f"{one.theirs} → {one.instead}" for one in imported.lost)


def unknown(imported: Imported) -> set[str]:
    """The keys that nobody knows."""
    return {one.key for one in imported.unknown}
