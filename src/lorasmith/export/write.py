"""Owns writing exported files: whole or not at all, naming the bytes that are missing when the disk is full."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from lorasmith.atomic import write_bytes
from lorasmith.errors import ResourceError
from lorasmith.formats.serialised import serialise, tensor_hash

__all__ = ["ExportedFile", "serialise", "tensor_hash", "write_whole"]


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and read back, and the programs that read it."""

    path: Path
    readers: tuple[str, ...]


def write_whole(path: Path, content: bytes) -> None:
    """Write beside, flush, rename. ResourceError names the file and the bytes needed; older files stay as they were."""
    try:
        write_bytes(path, content)
    except ResourceError as full:
        free = shutil.disk_usage(path.parent).free
        raise ResourceError(
            f"The disk is full: {path} needs {len(content):,} bytes, and {free:,} are free.",
            remedy="Free some space and export again; what was written before is whole.",
        ) from full
