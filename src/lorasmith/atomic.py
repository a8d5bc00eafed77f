"""Owns writing a file whole or not at all: beside it, flushed to the disk, renamed in; knows no file's meaning."""

import errno
import json
import os
import secrets
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from lorasmith.errors import ConfigError, ResourceError

NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the operating system says of a full disk and of a full share of it."""


def write_whole(path: Path, content: bytes, *, folder_mode: int = 0o777) -> None:
    """Write a file whole or not at all, making its folder with `folder_mode` if need be.

    Whoever reads sees all of it or what was there before, also when several write the same file and when the power
    is cut. What has gone wrong is an OSError; nothing is left beside the file then.
    """
    path.parent.mkdir(mode=folder_mode, parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        with beside.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    _flush_folder(path.parent)


def write_bytes(path: Path, content: bytes) -> None:
    """`write_whole`, where a full disk is a ResourceError and a forbidden place a ConfigError."""
    with naming_write_failures(path):
        write_whole(path, content)


def write_text(path: Path, text: str) -> None:
    """`write_bytes` for text, as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: object) -> None:
    """`write_bytes` for plain JSON data, indented; NaN and infinities are a ValueError."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


@contextmanager
def naming_write_failures(path: Path) -> Generator[None]:
    """Turn a full disk into ResourceError and a forbidden place into ConfigError; other failures pass through."""
    try:
        yield
    except OSError as failure:
        if failure.errno in NO_SPACE:
            raise ResourceError(
                f"the disk is full: could not write {path}",
                remedy="Free some space and go on; what was already written is whole.",
            ) from failure
        if failure.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise ConfigError(
                f"may not write {path}: {failure.strerror}", remedy="Choose a folder that you may write to."
            ) from failure
        raise


def _flush_folder(folder: Path) -> None:
    """A rename survives a power cut only once its folder is flushed too (POSIX; other systems cannot open folders)."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
