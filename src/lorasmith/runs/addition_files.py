"""Owns reading the LoRAs and embeddings a picture is drawn with, whoever wrote them, and their names and hashes."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.export.read import WeightsFile, adapters_in, open_sound_weights
from lorasmith.export_manifest import sha256_of
from lorasmith.formats.embeddings_format import BUNDLE, embeddings_in
from lorasmith.inference.additions import Changes, NewRows
from lorasmith.models.safetensors_header import read_header

_SHORT = 12
"""Digits of a hash that A1111 writes into pictures."""


@dataclass(frozen=True)
class LoraFile:
    """A LoRA: what WebUIs call it, its hash as A1111 writes it, and what it changes."""

    name: str
    short_hash: str
    changes: Changes


@dataclass(frozen=True)
class EmbeddingFile:
    """Rows of new tokens: what WebUIs call them, their hash as A1111 writes it, and the rows under `tokens`."""

    name: str
    short_hash: str
    rows: NewRows


def read_lora(path: Path, *, layers_per_block: int) -> LoraFile:
    """Read a LoRA file of any format; DataError when it is broken, a pickle or something else."""
    file = open_sound_weights(path)
    changes: Changes = {**adapters_in(file, layers_per_block=layers_per_block)}
    if not changes:
        raise DataError(f"{shown(path)} holds no LoRA", remedy="Name embeddings with --embedding.")
    return LoraFile(path.stem, _lora_hash(file), changes)


def read_embeddings(path: Path, *, first_token: int) -> tuple[EmbeddingFile, ...]:
    """Read every embedding in a file: one, or those bundled in a LoRA for A1111, which have names of their own.

    Their rows become the tokens `<s0>`, `<s1>`, … from `first_token` on.
    """
    found = embeddings_in(open_sound_weights(path).tensors)
    if not found:
        raise DataError(f"{shown(path)} is no embeddings file of SDXL", remedy="Name LoRAs with --lora.")
    short_hash = sha256_of(path)[:_SHORT]
    read = list[EmbeddingFile]()
    for one in found:
        tokens = tuple(f"<s{first_token + row}>" for row in range(len(one.first)))
        read.append(
            EmbeddingFile(one.name or path.stem, short_hash, NewRows(tokens, one.first.float(), one.second.float()))
        )
        first_token += len(tokens)
    return tuple(read)


def has_bundle(path: Path) -> bool:
    """Whether a LoRA file brings embeddings along, by its header alone; no for what is no such file."""
    try:
        return any(name.startswith(BUNDLE) for name in read_header(path, where=shown(path)).tensors)
    except (DataError, OSError):
        return False


def _lora_hash(file: WeightsFile) -> str:
    """The hash in the header, else of everything behind the header: what A1111 shows and Civitai looks up."""
    said = file.header.get("sshs_model_hash", "")
    if len(said) >= _SHORT and said.isalnum():
        return said[:_SHORT]
    digest = hashlib.sha256()
    with file.path.open("rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        opened.seek(8 + length)
        while block := opened.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:_SHORT]
