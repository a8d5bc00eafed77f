"""Owns cog-sdxl's `trained_model.tar`: LoRA, embeddings and tokens in one archive; unpacks nothing to the disk.

Its `embeddings.pti` is a safetensors file under another name; one that is a pickle is refused. Members that are links,
devices or lie in folders are refused, since an archive's paths are a stranger's.
"""

# safetensors and tarfile's members are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import io
import json
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.serialised import serialise
from lorasmith.models.safetensors_header import check_header

LORA, EMBEDDINGS, TOKENS = "lora.safetensors", "embeddings.pti", "special_params.json"
_MAGIC, _MAGIC_AT = b"ustar", 257
_LARGEST = {LORA: 4 * 2**30, EMBEDDINGS: 64 * 2**20, TOKENS: 2**20}
"""Bytes a member may have. SDXL's whole denoiser at rank 128 takes less than one of the four."""
_MOST_MEMBERS = 100


@dataclass(frozen=True)
class CogArchive:
    """The tensors of LoRA and embeddings together, and each token abstraction with the tokens it becomes."""

    tensors: Mapping[str, Tensor]
    tokens: Mapping[str, str]


def is_archive(start: bytes) -> bool:
    """Whether a file's first 512 bytes are a tar's."""
    return start[_MAGIC_AT : _MAGIC_AT + len(_MAGIC)] == _MAGIC


def is_archive_file(path: Path) -> bool:
    """The same of a file on the disk."""
    with path.open("rb") as stream:
        return is_archive(stream.read(_MAGIC_AT + len(_MAGIC)))


def read(path: Path) -> CogArchive:
    """What an archive holds; DataError when it is broken, hostile or no archive of cog-sdxl's."""
    with path.open("rb") as stream:
        return read_stream(stream, path)


def read_stream(stream: BinaryIO, path: Path) -> CogArchive:
    """The same of an archive that is open, or in memory; `path` is what it is called."""
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:  # plain tar alone: nothing is decompressed
            members = _members(archive, path)
    except tarfile.TarError as broken:
        raise DataError(
            f"{shown(path)} is not a whole tar: {shown(str(broken))}.", remedy="Fetch it again."
        ) from broken
    if LORA not in members and EMBEDDINGS not in members:
        raise DataError(
            f"{shown(path)} is a tar without {LORA} or {EMBEDDINGS}.", remedy="Name an archive that cog-sdxl wrote."
        )
    tensors = {
        name: tensor
        for member in (LORA, EMBEDDINGS)
        if member in members
        for name, tensor in _tensors(members[member], f"{path.name}:{member}").items()
    }
    return CogArchive(tensors, _tokens(members.get(TOKENS, b"{}"), path))


def archive_bytes(lora: Mapping[str, Tensor], rows: Mapping[str, Tensor], tokens: Mapping[str, str]) -> bytes:
    """An archive as cog-sdxl reads it: the same bytes for the same content."""
    contents = {LORA: serialise(lora, {}), TOKENS: json.dumps(dict(tokens)).encode()}
    if rows:
        contents[EMBEDDINGS] = serialise(rows, {})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _members(archive: tarfile.TarFile, path: Path) -> dict[str, bytes]:
    """The known members' bytes; everything else is looked at no further than its name."""
    found: dict[str, bytes] = {}
    for count, member in enumerate(archive):
        name = member.name.removeprefix("./")
        if count >= _MOST_MEMBERS or "/" in name or "\\" in name or not (member.isfile() or name in ("", ".")):
            raise DataError(
                f"{shown(path)} holds {shown(member.name)}, which is no plain file at its top.",
                remedy="Name an archive that cog-sdxl wrote.",
            )
        if name not in _LARGEST:
            continue
        stream = archive.extractfile(member)
        if member.size > _LARGEST[name] or name in found or stream is None:
            raise DataError(f"{shown(path)} holds a {name} of {member.size:,} bytes, or holds it twice.")
        found[name] = stream.read()
    return found


def _tensors(content: bytes, name: str) -> dict[str, Tensor]:
    check_header(content, name=name, where=name)
    try:
        return load(content)
    except SafetensorError as broken:
        raise DataError(f"{shown(name)} is not a whole safetensors file: {shown(str(broken))}.") from broken


def _tokens(content: bytes, path: Path) -> dict[str, str]:
    """`{"TOK": "<s0><s1>"}`, as cog-sdxl puts it in place in a prompt."""
    try:
        said: object = json.loads(content)
    except (ValueError, RecursionError) as broken:
        raise DataError(f"{shown(path)}: its {TOKENS} is not JSON.") from broken
    table = cast(dict[object, object], said) if isinstance(said, dict) else {}
    return {word: tokens for word, tokens in table.items() if isinstance(word, str) and isinstance(tokens, str)}
