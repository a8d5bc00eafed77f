"""Owns what `data.dataset` names: a data set of the hub, or files of this machine; plain folders need no `datasets`.

A data set of the hub is always read at one commit (`pinned_revision`), so that a run that goes on later sees the same
pictures, wherever the main branch has moved to.
"""

import hashlib
import json
from functools import partial
from pathlib import Path

from lorasmith.config.data import DataConfig
from lorasmith.data.cache import default_cache_folder
from lorasmith.data.captions import METADATA_FILES
from lorasmith.data.dataset_hub import HubDataset, check_hub_id, download, pinned_commit
from lorasmith.data.dataset_pictures import KeptPictures, kept_pictures
from lorasmith.data.dataset_rows import Location, Table, open_table
from lorasmith.data.read import picture_files
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.events import Emit

_FORMAT = "lorasmith-data-set-1"
_TABLES = frozenset({".parquet", ".arrow", ".tar", ".zip"})
_PLAIN_COLUMNS = (None, "image", "file_name")
"""What `datasets` and the metadata file itself call the pictures of an image folder."""


def is_local(data: DataConfig) -> bool:
    """Whether `data.dataset` means files of this machine; what has a revision is the hub's."""
    name = data.dataset or ""
    said = name.startswith((".", "/", "~")) or Path(name).expanduser().exists()
    return said and data.dataset_revision is None


def plain_folder(data: DataConfig) -> Path | None:
    """The folder of pictures that `data.dataset` comes to without `datasets`; None where it takes more than a folder.

    That is the folder itself, or the one of the split inside of it, as in the layout of `datasets`' ImageFolder.
    """
    if data.dataset is None or not is_local(data):
        return None
    folder = Path(data.dataset).expanduser()
    if not folder.exists():
        raise DataError(f"the folder {shown(folder)} does not exist", where="data.dataset", remedy="Check the path.")
    if not folder.is_dir() or data.dataset_config is not None or data.image_column not in _PLAIN_COLUMNS:
        return None
    split = folder / data.dataset_split
    if _is_plain(split) and not _has_metadata(folder):
        return split
    return folder if _is_plain(folder) and data.dataset_split == "train" else None


def pinned_revision(data: DataConfig) -> str | None:
    """The commit of the hub that the pictures are of; None for files of this machine. Raises HubError."""
    if data.dataset is None or is_local(data):
        return None
    check_hub_id(data.dataset)
    return pinned_commit(_on_the_hub(data))


def dataset_pictures(data: DataConfig, emit: Emit) -> KeptPictures:
    """The pictures of `data.dataset`, which is pinned or local; fetched and written down once, then read from there."""
    assert data.dataset is not None
    if is_local(data):
        path = Path(data.dataset).expanduser().resolve()
        source, opening = _contents(path), partial(_open, data, Location(path))
    else:
        source, opening = [data.dataset, str(data.dataset_revision)], partial(_fetch_and_open, data)
    return kept_pictures(_kept_folder(data, source), opening, data.image_column, emit)


def _kept_folder(data: DataConfig, source: list[str]) -> Path:
    facts = [_FORMAT, source, data.dataset_config, data.dataset_split, data.image_column]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]
    cache = data.cache_folder.expanduser() if data.cache_folder else default_cache_folder().parent
    return cache / "datasets" / key


def _open(data: DataConfig, location: Location) -> Table:
    return open_table(location, config=data.dataset_config, split=data.dataset_split)


def _fetch_and_open(data: DataConfig) -> Table:
    return _open(data, download(_on_the_hub(data), config=data.dataset_config))


def _on_the_hub(data: DataConfig) -> HubDataset:
    assert data.dataset is not None
    downloads = data.download_folder.expanduser() if data.download_folder else None
    return HubDataset(data.dataset, data.dataset_revision, downloads)


def _contents(path: Path) -> list[str]:
    """What lies at the path, by content: a file that was exchanged is never taken for the one before."""
    if not path.is_dir():
        return [path.suffix, _digest(path)]
    files = sorted(file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path)))
    return [f"{file.relative_to(path).as_posix()} {_digest(file)}" for file in files]


def _digest(file: Path) -> str:
    """The SHA-256 of a file that may be larger than memory."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=shown(file)) from error


def _is_hidden(inside: Path) -> bool:
    return any(part.startswith(".") for part in inside.parts)


def _is_plain(folder: Path) -> bool:
    """Whether the reader of folders reads it: there are pictures or metadata right inside, and no tables."""
    if not folder.is_dir() or any(path.suffix.lower() in _TABLES for path in folder.iterdir()):
        return False
    return _has_metadata(folder) or bool(picture_files(folder))


def _has_metadata(folder: Path) -> bool:
    return any((folder / name).is_file() for name in METADATA_FILES)
