"""Owns opening LoRA and embeddings files of any program, ours or others'; runs nothing, writes nothing.

Only safetensors are read, alone or in cog-sdxl's tar. A header is checked before any library sees the file, so that a
hostile one (too long, offsets outside, a name twice) is one clear error. Refuses pickles and what is neither a LoRA nor
an embedding.
"""

# safetensors is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import io
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load
from torch import Tensor

from lorasmith.data.wording import counted, shown
from lorasmith.errors import DataError
from lorasmith.formats import cog_archive
from lorasmith.formats.embeddings_format import has_embeddings
from lorasmith.formats.families import family_of
from lorasmith.formats.keys import Spelling, other_method, read_key
from lorasmith.models.safetensors_header import check_header, read_header

FileFormat = Literal[Spelling, "embeddings"]
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")
_START = 512


@dataclass(frozen=True)
class WeightsFile:
    """A weights file's tensors and header, and which format their names are of (the commonest, where they mix).

    `tokens` is what a cog archive says of its new tokens: each token abstraction, and what it becomes.
    """

    path: Path
    format: FileFormat
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class OpenedFile:
    """A file's tensors, header and tokens, of whatever family and method it is."""

    path: Path
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Each tensor's shape."""
        return {name: tuple(tensor.shape) for name, tensor in self.tensors.items()}


def open_weights(path: Path) -> WeightsFile:
    """Read a LoRA or embeddings file whole; DataError when it is missing, broken, a pickle or something else."""
    return recognised(open_any(path))


def open_sound_weights(path: Path) -> WeightsFile:
    """The same of a file to be used, not only looked at: a DataError also where a number in it is not finite."""
    file = open_weights(path)
    broken = told_of_infinite(file.tensors)
    if broken:
        raise DataError(
            f"{shown(path)} holds numbers that are not finite: {broken}.",
            remedy="Take an earlier checkpoint of that training, or fetch the file again.",
        )
    return file


def told_of_infinite(tensors: Mapping[str, Tensor]) -> str | None:
    """How many tensors hold numbers that are not finite, and the first; None when none does."""
    broken = [name for name, tensor in tensors.items() if not torch.isfinite(tensor).all()]
    return f"{counted(len(broken), 'tensor')} not finite, the first {shown(broken[0])}" if broken else None


def open_any(path: Path) -> OpenedFile:
    """Read any safetensors file or cog archive whole; DataError when it is missing, broken or a pickle."""
    start = _start_of(path)
    _refuse_pickle(path, start)
    if cog_archive.is_archive(start):
        archive = cog_archive.read(path)
        return OpenedFile(path, archive.tensors, {}, archive.tokens)
    header = read_header(path, where=shown(path))
    try:
        with safe_open(path, framework="pt") as file:
            opened: Any = file
            tensors = {name: opened.get_tensor(name) for name in header.tensors}
    except (SafetensorError, OSError) as broken:
        raise DataError(
            f"{shown(path)} is not a whole safetensors file: {shown(str(broken))}.", remedy="Export or copy it again."
        ) from broken
    return OpenedFile(path, tensors, dict(header.metadata))


def open_bytes(content: bytes, path: Path) -> OpenedFile:
    """A file that is still in memory, read as `open_any` reads it from the disk; `path` is what it will be called."""
    if cog_archive.is_archive(content[:_START]):
        archive = cog_archive.read_stream(io.BytesIO(content), path)
        return OpenedFile(path, archive.tensors, {}, archive.tokens)
    header = check_header(content, name=path.name, where=shown(path))
    return OpenedFile(path, load(content), dict(header.metadata))


def recognised(file: OpenedFile) -> WeightsFile:
    """The file with its format; DataError when it is no LoRA or embedding for SDXL."""
    return WeightsFile(file.path, _format_of(file), file.tensors, file.header, file.tokens)


def _start_of(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_START)
    except OSError as failure:
        raise DataError(f"{shown(path)} cannot be read: {failure.strerror}.") from failure


def _refuse_pickle(path: Path, start: bytes) -> None:
    """DataError for PyTorch's own files, which can run anything when they are opened."""
    # A safetensors file begins with its header's length, whose low byte may be any; its ninth byte opens the header.
    if start[8:9] != b"{" and start.startswith(_PICKLE_STARTS):
        raise DataError(
            f"{shown(path)} is a pickle, which lorasmith never opens: it could run any program.",
            remedy="Get the file as .safetensors.",
        )


def _format_of(file: OpenedFile) -> FileFormat:
    """The format that most of the tensors' names are of."""
    keys = [key for key in map(read_key, file.tensors) if key is not None]
    if keys:
        # Text encoders are spelled alike in both of kohya's; the denoiser decides.
        deciding = [key for key in keys if key.part == "denoiser"] or keys
        counts: Counter[Spelling] = Counter(key.spelling for key in deciding)
        return counts.most_common(1)[0][0]
    if has_embeddings(file.tensors):
        return "embeddings"
    raise _stranger(file)


def _stranger(file: OpenedFile) -> DataError:
    """What to say of a file that is nothing of SDXL's."""
    methods = sorted({method for name in file.tensors if (method := other_method(name)) is not None})
    if methods:
        return DataError(
            f"{shown(file.path)} holds {' and '.join(methods)}, and lorasmith reads LoRA and DoRA.",
            remedy="Make a LoRA of it with the program that trained it (LyCORIS has extraction scripts).",
        )
    family = family_of(file.shapes)
    if not family.may_be_sdxl:
        return DataError(
            f"{shown(file.path)} is for {family.name} ({shown(family.told_by)}), and lorasmith reads files for SDXL.",
            remedy="Name a file that was trained on SDXL or a base made from it.",
        )
    some = ", ".join(shown(name, limit=60) for name in list(file.tensors)[:3]) or "none"
    return DataError(
        f"{shown(file.path)} is neither a LoRA nor an embeddings file of SDXL (its tensors: {some}).",
        remedy="Name a LoRA or embeddings file, such as those in an export folder.",
    )
