"""Owns what is in a folder: pictures with what is said of each, and captions of none; the reader's own ids throughout.

It reads what training reads, through the same functions, and goes on where training would refuse.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lorasmith.data.captions import METADATA_FILES, SIDECAR_SUFFIXES, Caption, agreed, read_metadata, read_sidecar
from lorasmith.data.read import picture_files
from lorasmith.data.wording import shown
from lorasmith.errors import DataError, Problem


@dataclass(frozen=True)
class Said:
    """What is said of one picture: its caption (None without one), where that stands, and what is wrong with it."""

    caption: str | None
    source: str | None
    trouble: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class Contents:
    """Pictures by id with what is said of each; captions without a picture; what is wrong with a metadata file."""

    paths: Mapping[str, Path]
    said: Mapping[str, Said]
    orphans: tuple[str, ...]
    metadata_trouble: tuple[Problem, ...]


def contents_of(folder: Path, *, caption_column: str | None) -> Contents:
    """What there is to check in `folder`; raises DataError when there is no such folder."""
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise DataError(f"{shown(folder)} {what}", remedy="Give the folder that the pictures are in.")
    metadata = read_metadata(folder, column=caption_column)
    paths = {path.name: path for path in picture_files(folder)} | {id: folder / id for id in metadata.by_id}
    paths = dict(sorted(paths.items()))
    said = {id: _said_of(id, path, metadata.by_id.get(id)) for id, path in paths.items()}
    return Contents(paths, said, _orphans(folder, paths), metadata.problems)


def _said_of(id: str, path: Path, in_metadata: Caption | None) -> Said:
    beside, trouble = read_sidecar(path)
    caption, disagreement = agreed(id, [one for one in (in_metadata, beside) if one is not None])
    if caption is None:
        return Said(None, None, (*trouble, *disagreement))
    return Said(caption.text, caption.source, (*trouble, *disagreement))


def _orphans(folder: Path, paths: Mapping[str, Path]) -> tuple[str, ...]:
    stems = {path.with_suffix("") for path in paths.values()}
    files = (path for path in folder.iterdir() if path.suffix.lower() in SIDECAR_SUFFIXES and path.is_file())
    return tuple(
        sorted(
            path.name
            for path in files
            if path.with_suffix("") not in stems and not path.name.startswith(".") and path.name not in METADATA_FILES
        )
    )


def said_where(problem: Problem) -> str:
    """A problem's first sentence with its place."""
    return problem.what + (f" ({problem.where})" if problem.where else "")
