"""Owns a data set's pictures as files of a cache folder: written once, whole or not at all, verified when read.

::

    datasets/<key>/data-set.json        its columns and how many rows there are; written last
    datasets/<key>/rows.jsonl           one object a row: its picture's file, that file's SHA-256, its texts
    datasets/<key>/pictures/000012-1f0c….jpg

While it is being written, a folder is called `<key>.part`; what an interruption leaves there is gone on with.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock

from lorasmith.atomic import naming_write_failures, write_bytes, write_json
from lorasmith.config.values import nearest
from lorasmith.data.captions import USUAL_COLUMNS, Caption, Captions, columns_named, tidy, together
from lorasmith.data.dataset_rows import ColumnKind, Row, Table
from lorasmith.data.wording import listed, shown
from lorasmith.errors import DataError
from lorasmith.events import Emit, WorkDone

_log = logging.getLogger(__name__)

_FORMAT = 1
_RECORD, _ROWS, _PICTURES = "data-set.json", "rows.jsonl", "pictures"
_NAME = re.compile(r"\d{6,}-[0-9a-f]{16}\.(jpg|png|webp|bmp)")
_PART = r"\.\d+-[0-9a-f]+\.part"
_OURS = re.compile(rf"{_PICTURES}/(\.?{_NAME.pattern}({_PART})?)|\.({_RECORD}|{_ROWS}){_PART}")
_SUFFIXES = ((b"\xff\xd8", 0, ".jpg"), (b"\x89PNG", 0, ".png"), (b"WEBP", 8, ".webp"), (b"BM", 0, ".bmp"))


@dataclass(frozen=True)
class KeptPictures:
    """A data set's pictures in `folder`, and what stood beside them."""

    folder: Path
    columns: Mapping[str, ColumnKind]
    rows: Sequence["_KeptRow"]

    def captions(self, column: str | None) -> Captions:
        """The captions in `column`; with None in `text`, `prompt` or `caption`, and none at all without such a column.

        Raises DataError when there is no such column of texts.
        """
        chosen = _caption_columns(self.columns, column)
        if not chosen:
            return Captions()
        return Captions(
            {row.file: row.caption(chosen, f"row {number}") for number, row in enumerate(self.rows)}, ", ".join(chosen)
        )


@dataclass(frozen=True)
class _KeptRow:
    file: str
    sha256: str
    texts: Mapping[str, str | None]

    def caption(self, columns: Sequence[str], place: str) -> Caption:
        return together([Caption(tidy(self.texts.get(column) or ""), place) for column in columns])


def kept_pictures(folder: Path, open_table: Callable[[], Table], image_column: str | None, emit: Emit) -> KeptPictures:
    """What `folder` keeps of a data set; `open_table` is called only where it has to be filled first."""
    with naming_write_failures(folder):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        kept = _read(folder)
        if kept is None:
            _fill(folder, open_table(), image_column, emit)
            kept = _read(folder)
    assert kept is not None, "what has just been written whole can be read"
    return kept


def damaged_pictures(folder: Path) -> Iterator[tuple[Path, str]]:
    """Which files of a kept data set are not what was written, and why."""
    try:
        record: Any = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        count = int(record["rows"])
        with (folder / _ROWS).open(encoding="utf-8") as lines:
            rows = [_row_of(line) for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        yield folder, f"its list of pictures cannot be read ({type(error).__name__})"
        return
    if len(rows) != count or None in rows:
        yield folder / _ROWS, f"it does not list the {count} pictures that were written"
    for row in rows:
        picture = folder / _PICTURES / row.file if row is not None and _NAME.fullmatch(row.file) else None
        if row is not None and picture is not None and not _is_whole(picture, row.sha256):
            yield picture, "its bytes are not those that were written" if picture.is_file() else "it is missing"


def is_kept_picture(path: Path, folder: Path) -> bool:
    """Whether a path inside a kept data set's folder is a file (or the folder of pictures) that we wrote."""
    inside = path.relative_to(folder).as_posix()
    if path.is_symlink():
        return False
    return inside in (_RECORD, _ROWS, _PICTURES) or bool(_OURS.fullmatch(inside))


def choose_image_column(columns: Mapping[str, ColumnKind], named: str | None) -> str:
    """The column of pictures: the one that is named, else the only one, else `image`. Raises DataError."""
    pictures = [name for name, kind in columns.items() if kind == "picture"]
    if named is not None:
        _refuse_missing_column(columns, named, option="data.image_column")
        if columns[named] not in ("picture", "bytes"):
            raise DataError(
                f"the column {shown(named)!r} does not hold pictures",
                where="data.image_column",
                remedy=f"Columns of pictures: {listed(pictures, limit=20) or 'none'}.",
            )
        return named
    match pictures:
        case []:
            raise DataError(
                "the data set has no column of pictures",
                where="data.dataset",
                remedy=f"{_columns_there(columns)} One with encoded pictures as bytes is named with data.image_column.",
            )
        case [only]:
            return only
        case _ if "image" in pictures:
            return "image"
        case _:
            raise DataError(
                f"the data set has several columns of pictures: {listed(pictures, limit=20)}",
                where="data.dataset",
                remedy="Name one with data.image_column.",
            )


def _caption_columns(columns: Mapping[str, ColumnKind], named: str | None) -> list[str]:
    if named is None:
        return [name for name in USUAL_COLUMNS if columns.get(name) == "text"][:1]
    chosen = columns_named(named, columns)
    for name in chosen:
        _refuse_missing_column(columns, name, option="data.caption_column")
        if columns[name] != "text":
            texts = [name for name, kind in columns.items() if kind == "text"]
            raise DataError(
                f"the column {shown(name)!r} does not hold text",
                where="data.caption_column",
                remedy=f"Columns of text: {listed(texts, limit=20) or 'none'}.",
            )
    return chosen


def _refuse_missing_column(columns: Mapping[str, ColumnKind], named: str, *, option: str) -> None:
    if named not in columns:
        near = nearest(named, list(columns))
        raise DataError(
            f"the data set has no column {shown(named)!r}",
            where=option,
            remedy=f"{shown(near)} {_columns_there(columns)}" if near else _columns_there(columns),
        )


def _columns_there(columns: Mapping[str, ColumnKind]) -> str:
    told = [f"{name} ({kind})" if kind in ("picture", "text") else name for name, kind in columns.items()]
    return f"The columns are: {listed(told, limit=20)}."


def _fill(folder: Path, table: Table, image_column: str | None, emit: Emit) -> None:
    """Write all rows beside `folder`, going on where an earlier try stopped, and rename them in."""
    column = choose_image_column(table.columns, image_column)
    part = folder.with_name(f"{folder.name}.part")
    with naming_write_failures(part):
        (part / _PICTURES).mkdir(mode=0o700, parents=True, exist_ok=True)
        done = _go_on_after_whole_rows(part)
        with (part / _ROWS).open("a", encoding="utf-8") as rows:
            for row in _counting(table.rows(column, first=done), done, table.count, emit):
                kept = _write_picture(part / _PICTURES, done, row)
                rows.write(_as_line(kept))
                rows.flush()
                done += 1
            os.fsync(rows.fileno())
        if not done:
            raise DataError("the data set's split has no rows", where="data.dataset_split")
        write_json(part / _RECORD, {"format": _FORMAT, "columns": dict(table.columns), "rows": done})
        if folder.exists():
            _log.warning("kept pictures of a data set were damaged and have been written again: %s", shown(folder))
            shutil.rmtree(folder)
        part.replace(folder)


def _write_picture(folder: Path, number: int, row: Row) -> _KeptRow:
    """Row numbers keep a picture that a data set has twice, with two captions, two pictures."""
    digest = hashlib.sha256(row.picture).hexdigest()
    name = f"{number:06d}-{digest[:16]}{_suffix(row.picture)}"
    write_bytes(folder / name, row.picture)
    return _KeptRow(name, digest, row.texts)


def _suffix(picture: bytes) -> str:
    """Of what is not a picture as well, so that whoever reads the folder refuses it by name and reason."""
    known = (suffix for start, place, suffix in _SUFFIXES if picture[place : place + len(start)] == start)
    return next(known, ".jpg")


def _go_on_after_whole_rows(part: Path) -> int:
    """How many rows are whole; what comes after them is cut off the list."""
    kept = list(_whole_rows(part))
    write_bytes(part / _ROWS, "".join(_as_line(row) for row in kept).encode())
    return len(kept)


def _whole_rows(folder: Path) -> Iterator[_KeptRow]:
    """The listed rows up to the first that is torn, or whose picture is not the one that was written."""
    try:
        with (folder / _ROWS).open(encoding="utf-8") as lines:
            rows = [_row_of(line) for line in lines]
    except (FileNotFoundError, UnicodeDecodeError):
        return
    for row in takewhile(lambda row: row is not None, rows):
        assert row is not None
        if not _is_whole(folder / _PICTURES / row.file, row.sha256):
            return
        yield row


def _is_whole(picture: Path, sha256: str) -> bool:
    try:
        return hashlib.sha256(picture.read_bytes()).hexdigest() == sha256
    except OSError:
        return False


def _read(folder: Path) -> KeptPictures | None:
    """What is kept in the folder, None when there is nothing or anything of it is damaged."""
    try:
        record: Any = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        columns, count = cast("dict[str, ColumnKind]", record["columns"]), record["rows"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    rows = tuple(_whole_rows(folder))
    return KeptPictures(folder / _PICTURES, columns, rows) if len(rows) == count else None


def _as_line(row: _KeptRow) -> str:
    # ASCII only, so that half a character of hostile text (a lone surrogate) can be written down as well.
    return json.dumps({"file": row.file, "sha256": row.sha256, "texts": dict(row.texts)}) + "\n"


def _row_of(line: str) -> _KeptRow | None:
    try:
        said: Any = json.loads(line)
        return _KeptRow(said["file"], said["sha256"], said["texts"])
    except (ValueError, KeyError, TypeError):
        return None


_Item = TypeVar("_Item")


def _counting(items: Iterator[_Item], done: int, total: int | None, emit: Emit) -> Iterator[_Item]:
    """The items, telling how far it is where the data set says how many there are."""
    for number, item in enumerate(items, start=done + 1):
        yield item
        if total is not None:
            emit(WorkDone("fetching pictures", number, max(total, number)))
