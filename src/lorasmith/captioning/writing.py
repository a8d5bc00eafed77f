"""Owns writing captions beside pictures: into `metadata.jsonl` or text files; never over what nobody gave up.

All else that stands in `metadata.jsonl` stays: other columns, other lines, their order.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, cast

from lorasmith.atomic import write_text
from lorasmith.data.captions import METADATA_FILES, USUAL_COLUMNS, Captions, read_metadata, read_sidecar, sidecars_of
from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError, DataError, Problem

Place = Literal["metadata", "sidecars"]
_FILE = METADATA_FILES[0]
_FILE_NAME = "file_name"
_SECONDS_BETWEEN_WRITES = 2.0


@dataclass(frozen=True)
class Standing:
    """What a folder says already: captions by picture, and where the caption of each stands."""

    captions: Mapping[str, str]
    in_metadata: frozenset[str]
    sidecars: Mapping[str, tuple[Path, ...]]
    metadata: Captions


class Writer(Protocol):
    """Takes captions as they come."""

    def write(self, picture: str, caption: str) -> None:
        """Keep the caption of a picture, named by its file."""
        ...

    def flush(self) -> None:
        """Everything that was taken is on the disk afterwards."""
        ...


def standing_captions(folder: Path, pictures: list[Path]) -> Standing:
    """The captions that are there. Raises DataError where a file of captions cannot be read: it would be lost."""
    has_captions = _names_captions(folder / _FILE)
    metadata = read_metadata(folder, column=None if has_captions else _FILE_NAME)
    problems: list[Problem] = [*metadata.problems]
    captions = {id: caption.text for id, caption in metadata.by_id.items() if has_captions}
    sidecars: dict[str, tuple[Path, ...]] = {}
    for picture in pictures:
        beside, trouble = read_sidecar(picture)
        problems.extend(trouble)
        if beside is not None:
            sidecars[picture.name] = tuple(sidecars_of(picture))
            captions.setdefault(picture.name, beside.text)
    if problems:
        raise DataError.of(problems)
    return Standing({id: text for id, text in captions.items() if text}, frozenset(metadata.by_id), sidecars, metadata)


def _names_captions(file: Path) -> bool:
    """Whether the file has a column of captions; one that cannot be read counts, so that it is read and refused."""
    try:
        rows: list[Any] = [
            json.loads(line) for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()
        ]
    except (OSError, ValueError, RecursionError):
        return True
    return not rows or any(isinstance(row, dict) and not row.keys().isdisjoint(USUAL_COLUMNS) for row in rows)


def place_for(standing: Standing, wanted: Place | None) -> Place:
    """Where new captions go: as asked, else where the others are, else into `metadata.jsonl`."""
    if wanted is not None:
        return wanted
    return "sidecars" if standing.sidecars and standing.metadata.file is None else "metadata"


def writer_for(folder: Path, standing: Standing, place: Place) -> Writer:
    """Captions that are replaced go where they stand, new ones to `place`. Raises ConfigError for a `metadata.csv`."""
    if standing.metadata.file is not None and standing.metadata.file != _FILE and place == "metadata":
        raise ConfigError(
            f"captions stand in {standing.metadata.file}, which is not written to",
            where="--to",
            remedy=f"Write text files (--to sidecars), or make a {_FILE} of it.",
        )
    return _Everywhere(folder, standing, place, MetadataFile(folder))


@dataclass(frozen=True)
class _Everywhere:
    folder: Path
    standing: Standing
    place: Place
    metadata: "MetadataFile"

    def write(self, picture: str, caption: str) -> None:
        for file in self.standing.sidecars.get(picture, ()):
            write_text(file, f"{caption}\n")
        if picture in self.standing.in_metadata:
            self._replace_in_metadata(picture, caption)
        elif picture not in self.standing.sidecars:
            self._add(picture, caption)

    def flush(self) -> None:
        self.metadata.flush()

    def _replace_in_metadata(self, picture: str, caption: str) -> None:
        if self.standing.metadata.file != _FILE:
            raise ConfigError(
                f"the caption of {shown(picture)} stands in {self.standing.metadata.file}, which is not written to",
                where="--overwrite",
                remedy=f"Make a {_FILE} of it.",
            )
        self.metadata.write(picture, caption)

    def _add(self, picture: str, caption: str) -> None:
        if self.place == "metadata":
            self.metadata.write(picture, caption)
        else:
            write_text((self.folder / picture).with_suffix(".txt"), f"{caption}\n")


@dataclass
class MetadataFile:
    """`metadata.jsonl` as it stands and as it becomes; written whole, at once and then every two seconds."""

    folder: Path
    clock: Callable[[], float] = time.monotonic
    _rows: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]], init=False)
    _column: str = field(default=USUAL_COLUMNS[0], init=False)
    _at: dict[str, list[int]] = field(default_factory=dict[str, list[int]], init=False)
    _written_at: float = field(default=float("-inf"), init=False)
    _waits: bool = field(default=False, init=False)

    def __post_init__(self) -> None:
        for line in self._lines():
            self._take(cast(dict[str, Any], json.loads(line)))
        columns = {name for row in self._rows for name in row}
        self._column = next((name for name in USUAL_COLUMNS if name in columns), USUAL_COLUMNS[0])

    def write(self, picture: str, caption: str) -> None:
        """Put the caption into each line of the picture, or into a new one."""
        if picture not in self._at:
            self._take({"file_name": picture})
        for at in self._at[picture]:
            self._rows[at] = {**self._rows[at], self._column: caption}
        self._waits = True
        if self.clock() - self._written_at >= _SECONDS_BETWEEN_WRITES:
            self.flush()

    def flush(self) -> None:
        """Write what is new."""
        if not self._waits:
            return
        write_text(self.folder / _FILE, "".join(f"{_line_of(row)}\n" for row in self._rows))
        self._written_at, self._waits = self.clock(), False

    def _take(self, row: dict[str, Any]) -> None:
        name = str(Path(str(row.get("file_name", "")).strip()))
        self._at.setdefault(name, []).append(len(self._rows))
        self._rows.append(row)

    def _lines(self) -> list[str]:
        file = self.folder / _FILE
        if not file.is_file():
            return []
        return [line for line in file.read_text(encoding="utf-8-sig").split("\n") if line.strip()]


def _line_of(row: Mapping[str, Any]) -> str:
    """Readable, but for what UTF-8 cannot say (half a surrogate pair in another column)."""
    line = json.dumps(row, ensure_ascii=False)
    return json.dumps(row) if any("\ud800" <= character <= "\udfff" for character in line) else line


def told(written: int, kept: int, place: Place) -> str:
    """What became of a folder, in words."""
    if kept and not written:
        return f"nothing to write: {counted(kept, 'picture')} with a caption already (--overwrite replaces them)"
    where = _FILE if place == "metadata" else "text files"
    left = f"; {counted(kept, 'picture')} had a caption already, which stays" if kept else ""
    return f"{counted(written, 'caption')} written to {where}{left}"
