"""Owns a safetensors file as bytes: the same bytes for the same content, and never a pickle; writes no file."""

import hashlib
import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor


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


def _taken_apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, object], memoryview]:
    """Header and body of the file the library would write without metadata."""
    blob = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    end = 8 + int.from_bytes(blob[:8], "little")
    return json.loads(blob[8:end]), memoryview(blob)[end:]
