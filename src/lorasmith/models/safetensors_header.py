"""Owns reading the header of a safetensors file: names, shapes, metadata; reads no weights, refuses broken files."""

import io
import json
import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NoReturn, cast

from lorasmith.errors import DataError

_LENGTH_BYTES = 8
_LONGEST = 16 * 1024 * 1024
"""Bytes a header may have. A whole SDXL file's names take 0.4 MB; pictures and recipes in its metadata some more."""
_LONGEST_NAME = 300
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
    **dict.fromkeys(("F6_E2M3", "F6_E3M2"), 6),
    "F4": 4,
}
_PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})
_OTHER_KINDS = (
    (b"PK\x03\x04", "a zip file, as PyTorch's pickles are, which can run code when it is opened"),
    (b"GGUF", "a GGUF file, whose weights are quantized"),
    (b"version https://git-lfs", "a pointer of Git LFS to a file that was not fetched"),
    (b"<", "a web page, not the file that was meant"),
    (b"{", "JSON"),
)


@dataclass(frozen=True)
class TensorEntry:
    """What the header says of one tensor."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def is_floating(self) -> bool:
        """Whether it holds floating-point numbers of a kind that needs no scales beside it."""
        return self.dtype in {"F16", "BF16", "F32", "F64"}


@dataclass(frozen=True)
class Header:
    """A file's tensors by name, and its metadata (hostile text)."""

    path: Path
    tensors: Mapping[str, TensorEntry]
    metadata: Mapping[str, str]

    def below(self, prefix: str) -> dict[str, TensorEntry]:
        """The tensors whose names begin with `prefix`, under their whole names."""
        return {name: entry for name, entry in self.tensors.items() if name.startswith(prefix)}


def read_header(path: Path, *, where: str) -> Header:
    """A file's header, checked against the file's size; no more than 16 MB are read.

    DataError, naming the option `where`, for pickles, other kinds of files, and broken or hostile headers.
    """
    if path.suffix.lower() in _PICKLE_SUFFIXES:
        raise DataError(
            f"{path.name} is a pickle, which can run code when it is opened", where=where,
            remedy="Use the .safetensors file of the same weights.",
        )  # fmt: skip
    with path.open("rb") as file:
        return _read(file, path.stat().st_size, path, where)


def check_header(content: bytes, *, name: str, where: str) -> Header:
    """The same of a safetensors file in memory, called `name`, such as a member of an archive."""
    return _read(io.BytesIO(content), len(content), Path(name), where)


def _read(file: BinaryIO, size: int, path: Path, where: str) -> Header:
    start = file.read(64)
    length = _length(start, size, path, where)
    file.seek(_LENGTH_BYTES)
    text = file.read(length)
    parsed = _parsed(text, path, where)
    metadata = parsed.pop("__metadata__", {})
    if not isinstance(metadata, dict):
        _refuse(path, where, "its metadata is not a table")
    tensors = _entries(parsed, size - _LENGTH_BYTES - length, path, where)
    words = cast(dict[str, object], metadata)
    return Header(path, tensors, {name: value for name, value in words.items() if isinstance(value, str)})


def _length(start: bytes, size: int, path: Path, where: str) -> int:
    """The header's length in bytes, which the first eight bytes say."""
    if size < _LENGTH_BYTES + 2:
        _refuse(path, where, f"it has {size} bytes", "Fetch it again.")
    (length,) = struct.unpack("<Q", start[:_LENGTH_BYTES])
    looks_right = start[_LENGTH_BYTES : _LENGTH_BYTES + 1] == b"{"
    if not looks_right:
        kinds = [kind for magic, kind in _OTHER_KINDS if start.startswith(magic)]
        if not kinds and start[:1] == b"\x80":
            kinds = ["a pickle, which can run code when it is opened"]
        _refuse(path, where, f"it is {kinds[0] if kinds else 'something else'}")
    if length > _LONGEST:
        _refuse(path, where, f"its header claims {length:,} bytes, and none needs more than {_LONGEST:,}")
    if length + _LENGTH_BYTES > size:
        _refuse(path, where, f"its header claims {length:,} bytes and the file has {size:,}", "Fetch it again.")
    return length


def _parsed(text: bytes, path: Path, where: str) -> dict[str, Any]:
    try:
        parsed = json.loads(text, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
        _refuse(path, where, f"its header cannot be read: {reason[:200]}")
    if not isinstance(parsed, dict):
        _refuse(path, where, "its header is not a table")
    return cast(dict[str, Any], parsed)


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands in it twice")
    return found


def _entries(parsed: Mapping[str, Any], room: int, path: Path, where: str) -> dict[str, TensorEntry]:
    """Every tensor, after checking that its numbers lie within the `room` bytes that follow the header."""
    entries: dict[str, TensorEntry] = {}
    end = 0
    for name, said in parsed.items():
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            _refuse(path, where, f"it names a tensor {name[:40]!a}…")
        match said:
            case {"dtype": str(dtype), "shape": [*shape], "data_offsets": [int(first), int(last)]} if dtype in _BITS:
                sizes = tuple(shape)
            case _:
                _refuse(path, where, f"its header does not say what {name!r} is")
        if not all(type(side) is int and 0 <= side < 2**40 for side in sizes):
            _refuse(path, where, f"{name!r} has the shape {str(shape)[:200]}")
        wanted = math.prod(sizes) * _BITS[dtype]
        if first < 0 or (last - first) * 8 != wanted:
            _refuse(path, where, f"{name!r} lies at bytes {first} to {last}, which is not its size")
        entries[name] = TensorEntry(dtype, sizes)
        end = max(end, last)
    if end > room:
        _refuse(path, where, f"it was cut short: {room:,} of {end:,} bytes of numbers are there", "Fetch it again.")
    return entries


def _refuse(path: Path, where: str, reason: str, remedy: str = "Use a whole .safetensors file.") -> NoReturn:
    raise DataError(f"{path.name} is not a safetensors file that can be used: {reason}", where=where, remedy=remedy)
