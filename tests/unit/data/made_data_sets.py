"""Owns the data sets that tests make, in the layouts of `datasets`, and a hub that is a folder."""
# `datasets` and pyarrow are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import fnmatch
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
from PIL import Image

from lorasmith.config.train import TrainConfig

COLOURS = ("red", "green", "blue")
CAPTIONS = ("TOK in red", "TOK in green", "TOK in blue")


def jpeg(colour: str, *, orientation: int = 1, height: int = 24, width: int = 40) -> bytes:
    """The bytes of a JPEG picture, with its orientation noted in EXIF."""
    picture, written = Image.new("RGB", (width, height), colour), BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture.save(written, "JPEG", exif=exif)
    return written.getvalue()


def sha256(picture: bytes) -> str:
    """The content key of a picture's bytes."""
    return hashlib.sha256(picture).hexdigest()


def parquet(path: Path, columns: Mapping[str, Sequence[Any]], *, pictures: Sequence[str] = ("image",)) -> Path:
    """A parquet file as `datasets` writes it: columns named in `pictures` hold bytes and are noted as pictures."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = {name: [_stored(cell) for cell in cells] if name in pictures else cells for name, cells in columns.items()}
    table = datasets.Dataset.from_dict(stored)
    for name in pictures:
        table = table.cast_column(name, datasets.Image())
    table.to_parquet(str(path), batch_size=2)
    return path


def foreign_parquet(path: Path, columns: Mapping[str, Sequence[Any]]) -> Path:
    """A parquet file as other programs write it, with no note of what is a picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(dict(columns)), path)
    return path


def described_by_configs(folder: Path, pictures: Mapping[str, bytes]) -> Path:
    """A data set with a config of one picture for each name, as its description says."""
    parts = list[str]()
    for name, picture in pictures.items():
        parquet(folder / name / "a.parquet", {"image": [picture]})
        parts.append(f"- config_name: {name}\n  data_files:\n  - split: train\n    path: {name}/*.parquet\n")
    (folder / "README.md").write_text(f"---\nconfigs:\n{''.join(parts)}---\n")
    return folder


def config_of(dataset: Path | str, cache: Path, **options: Any) -> TrainConfig:
    """A config that trains on the data set."""
    data = {"dataset": str(dataset), "cache_folder": cache, "instance_prompt": "a TOK thing", **options}
    return TrainConfig.model_validate({"data": data})


class FolderHub:
    """Stands for the hub: commits are folders, and main is the last one that was pushed."""

    def __init__(self, path: Path) -> None:
        """Nothing is published yet."""
        self.path = path
        self.commits: list[str] = []
        self.fetched: list[str] = []

    def push(self, source: Path) -> str:
        """Publish the files of `source` as the new main; their commit."""
        commit = f"{len(self.commits) + 1:040x}"
        shutil.copytree(source, self.path / commit)
        self.commits.append(commit)
        return commit

    def snapshot_download(
        self, name: str, *, revision: str | None, allow_patterns: Sequence[str] | None, **_: object
    ) -> str:
        """Copy the files asked for beside, as the hub library does; the folder is named after the commit."""
        commit = self._commit(name, revision)
        here = self.path / "cache" / commit
        here.mkdir(parents=True, exist_ok=True)
        for file in self.list_repo_files(name, revision=commit):
            if allow_patterns is None or any(fnmatch.fnmatch(file, pattern) for pattern in allow_patterns):
                (here / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.path / commit / file, here / file)
                self.fetched.append(file)
        return str(here)

    def list_repo_files(self, name: str, *, revision: str | None, **_: object) -> list[str]:
        """The names of all files of a commit."""
        root = self.path / self._commit(name, revision)
        return sorted(file.relative_to(root).as_posix() for file in root.rglob("*") if file.is_file())

    def _commit(self, name: str, revision: str | None) -> str:
        if name != "somebody/things":
            raise refused(RepositoryNotFoundError)
        if revision not in (None, "main", *self.commits):
            raise refused(RevisionNotFoundError)
        return self.commits[-1] if revision in (None, "main") else str(revision)


def refused(error: type[RepositoryNotFoundError] | type[RevisionNotFoundError]) -> Exception:
    """What the hub library raises when the hub says no, without the answer it read that from."""
    made = error.__new__(error)
    made.args = ("404 Client Error",)
    return made


def _stored(picture: bytes | None) -> dict[str, Any] | None:
    return None if picture is None else {"bytes": picture, "path": None}
