"""Owns writing safetensors files: whole or not at all, the same bytes for the same content, and never a pickle."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from lorasmith.atomic import write_bytes
from lorasmith.errors import ResourceError


@dataclass(frozen=True)
class ExportedFile:
    """A file that was written and read back, and the programs that read it."""

    path: Path
    readers: tuple[str, ...]


def serialise(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file's bytes with its metadata in alphabetical order.

    The safetensors library writes metadata in a random order (0.8), so that equal exports would differ in their bytes.
    """
    header, body = _taken_apart(tensors)
    whole = {"__metadata__": dict(sorted(metadata.items())), **header} if metadata else header
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    return b"".join((len(text).to_bytes(8, "little"), text, body))


def tensor_hash(tensors: Mapping[str, Tensor]) -> str:
    """sha256 over the bytes after the header, which WebUIs know a LoRA by (`sshs_model_hash`)."""
    return hashlib.sha256(_taken_apart(tensors)[1]).hexdigest()


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


def _taken_apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, object], memoryview]:
    """Header and body of the file the library would write without metadata."""
    blob = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    end = 8 + int.from_bytes(blob[:8], "little")
    return json.loads(blob[8:end]), memoryview(blob)[end:]
