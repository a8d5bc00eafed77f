# `datasets` is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
"""Owns reading a data set's rows through the package `datasets`; refuses code in it and pictures outside of it.

Rows come one at a time, and pictures as the bytes they were stored as: nothing is decoded here, nothing encoded again.
"""

import glob
import os
import shutil
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Literal, cast

import fsspec

from lorasmith.data.wording import listed, shown
from lorasmith.errors import ConfigError, DataError

ColumnKind = Literal["picture", "bytes", "text", "other"]

DESCRIPTIONS = ("README.md", ".huggingface.yaml", "dataset_infos.json", ".gitattributes")
"""The small files in which a data set says what its configs are."""

_BUILDERS = frozenset({"imagefolder", "parquet", "arrow", "webdataset"})
_TEXT_TYPES = frozenset({"string", "large_string", "string_view"})
_BYTE_TYPES = frozenset({"binary", "large_binary", "binary_view"})
_TROUBLE = (OSError, ValueError, RuntimeError, KeyError)
"""What `datasets` and pyarrow raise on data sets that cannot be read (ArrowInvalid is a ValueError), and on code."""


@dataclass(frozen=True)
class Row:
    """One row: its picture's bytes (none where it has no picture) and what its text columns say."""

    picture: bytes
    texts: Mapping[str, str | None]


@dataclass(frozen=True)
class Table:
    """An opened split: what its columns are, how many rows it is said to have, and its rows."""

    columns: Mapping[str, ColumnKind]
    count: int | None
    path: Path
    _stream: Any

    def rows(self, image_column: str, *, first: int = 0) -> Iterator[Row]:
        """The rows from `first` on, in order. Raises DataError for one that cannot be read."""
        texts = [name for name, kind in self.columns.items() if kind == "text" and name != image_column]
        stored = _library().Image(decode=False)
        chosen = self._stream.select_columns([image_column, *texts]).cast_column(image_column, stored)
        number = first
        with _quiet():
            try:
                for number, row in enumerate(chosen.skip(first), start=first):
                    picture = _bytes_of(row[image_column], self.path, number)
                    yield Row(picture, {name: row[name] for name in texts})
            except _TROUBLE as error:
                raise DataError(f"row {number} of the data set cannot be read: {_first_lines(error)}") from error


@dataclass(frozen=True)
class Location:
    """A folder with a data set (or one file of it), and which files of each split are meant; None: told from names."""

    path: Path
    files: Mapping[str, Sequence[str]] | None = None


def open_table(location: Location, *, config: str | None, split: str) -> Table:
    """The split of the data set at the location.

    Nothing in the folder is ever run: `datasets` refuses scripts from version 4 on. Raises DataError; ConfigError
    where the package is missing.
    """
    path = location.path
    builder = _builder(location, config)
    if builder.name not in _BUILDERS:
        raise DataError(
            f"{shown(path)} is a data set of the kind {shown(builder.name)!r}, which holds no pictures",
            remedy="Pictures are read from image folders, parquet, arrow and webdataset files.",
        )
    _refuse_files_outside(builder, path)
    _refuse_missing_split(builder, split)
    with _quiet(), _saying_what_is_wrong(path):
        stream = builder.as_streaming_dataset(split=split)
    features: Mapping[str, Any] = stream.features or {}
    return Table({name: _kind(feature) for name, feature in features.items()}, _count(builder, split), path, stream)


def files_of_config(names: Sequence[str], descriptions: Path, *, config: str | None) -> Mapping[str, Sequence[str]]:
    """Which of a repository's files each split of a config consists of, told from names and description alone."""
    with TemporaryDirectory() as folder:
        # `datasets` resolves patterns on files that are there; it opens none of these empty ones.
        root = Path(folder).resolve()
        for name in names:
            _touch(root, name)
        for name in DESCRIPTIONS:
            if (descriptions / name).is_file():
                shutil.copyfile(descriptions / name, root / name)
        builder = _builder(Location(root), config)
        _refuse_files_outside(builder, root)
        return {
            str(split): [Path(os.path.normpath(file)).relative_to(root).as_posix() for file in files]
            for split, files in (builder.config.data_files or {}).items()
        }


def _library() -> ModuleType:
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            "data sets of the hub and tables of pictures need the package `datasets`",
            where="data.dataset",
            remedy="Install it: `pip install 'lorasmith[hub]'`. A plain folder of pictures is read without it.",
        ) from error
    return datasets


def _builder(location: Location, config: str | None) -> Any:
    datasets = _library()
    folder, files = location.path, location.files
    if not folder.is_dir():
        # One file is named as a part of its folder: naming its kind instead would tell the hub that somebody reads it.
        folder, files = folder.parent, {"train": [folder.name]}
    patterns = files and {split: [glob.escape(name) for name in names] for split, names in files.items() if names}
    with TemporaryDirectory() as cache, _quiet(), _saying_what_is_wrong(location.path):
        builder = datasets.load_dataset_builder(str(folder), config, data_files=patterns, cache_dir=cache)
    if builder.name == "parquet":
        # By default pyarrow keeps all it has read of a file until the file's end.
        builder.config.fragment_scan_options = _parquet_options(pre_buffer=False)
    return builder


def _parquet_options(*, pre_buffer: bool) -> Any:
    import pyarrow.dataset  # comes with `datasets`

    return pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=pre_buffer)


def _files(builder: Any) -> list[str]:
    return [str(file) for files in (builder.config.data_files or {}).values() for file in files]


def _refuse_files_outside(builder: Any, root: Path) -> None:
    """A data set's description may name any file of this machine, or any address; only its own are read."""
    strangers = [file for file in _files(builder) if not _is_inside(file, root)]
    if strangers:
        raise DataError(
            f"the data set's description names files outside of it: {listed(strangers)}",
            where=shown(root),
            remedy="Use a data set that holds its own files.",
        )


def _refuse_missing_split(builder: Any, split: str) -> None:
    splits = [str(name) for name, files in (builder.config.data_files or {}).items() if files]
    if split not in splits:
        there = f"It has {listed(splits, limit=20)}." if splits else "It has no files at all."
        raise DataError(
            f"the data set has no split {shown(split)!r}",
            where="data.dataset_split",
            remedy=f"{there} Name one with data.dataset_split." if splits else there,
        )


def _kind(feature: Any) -> ColumnKind:
    datasets: Any = _library()
    if isinstance(feature, datasets.Image):
        return "picture"
    if isinstance(feature, dict):
        # A picture as `datasets` stores it, in a file that lacks the note saying so.
        parts = cast("dict[str, Any]", feature)
        return "picture" if set(parts) == {"bytes", "path"} and _kind(parts["bytes"]) == "bytes" else "other"
    stored = feature.dtype if isinstance(feature, datasets.Value) else None
    return "text" if stored in _TEXT_TYPES else "bytes" if stored in _BYTE_TYPES else "other"


def _count(builder: Any, split: str) -> int | None:
    said = (builder.info.splits or {}).get(split)
    return said.num_examples or None if said is not None else None


def _bytes_of(stored: Any, root: Path, number: int) -> bytes:
    """The picture as it was stored: inside the table, or in a file of the data set's own."""
    if stored is None or (stored["bytes"] is None and not stored["path"]):
        return b""
    if stored["bytes"] is not None:
        return stored["bytes"]
    if not _is_inside(stored["path"], root):
        raise DataError(
            f"row {number} of the data set has no picture of its own, only the path {shown(stored['path'])!r}",
            remedy="Paths in tables are not followed. Use a data set with the pictures in it.",
        )
    opened: Any = fsspec.open(stored["path"], "rb")  # also inside an archive: zip://a.jpg::/folder/pictures.zip
    with opened as file:
        return file.read()


def _is_inside(file: str, root: Path) -> bool:
    """By name alone: the hub's cache keeps what a snapshot names elsewhere, behind links."""
    outermost = file.rsplit("::", 1)[-1]
    return Path(os.path.normpath(outermost)).is_relative_to(os.path.normpath(root))


def _touch(root: Path, name: str) -> None:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"the data set has a file with a path out of it: {shown(name)!r}")
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).touch()


@contextmanager
def _saying_what_is_wrong(path: Path) -> Generator[None]:
    try:
        yield
    except _TROUBLE as error:
        raise DataError(
            f"{shown(path)} cannot be read as a data set: {_first_lines(error)}",
            remedy="Give a folder of pictures, an image folder, or parquet files; data.dataset_config names a part.",
        ) from error


def _first_lines(error: BaseException) -> str:
    """What a library said, without the examples it adds."""
    return shown(" ".join(str(error).splitlines()[:2]), limit=300)


@contextmanager
def _quiet() -> Generator[None]:
    """No progress bars of `datasets` inside the block: a run has its own."""
    datasets = _library()
    were_shown = not datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if were_shown:
            datasets.enable_progress_bars()
