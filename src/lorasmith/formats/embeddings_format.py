"""Owns how embeddings of SDXL are spelled: `clip_l` and `clip_g`, diffusers' and cog's numbers, bundles in a LoRA.

Writes nothing. Refuses halves: SDXL has two text encoders, and programs ask for rows of both.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.weights import ConceptRows

FIRST, SECOND = "clip_l", "clip_g"
NUMBERED = ("text_encoders_0", "text_encoders_1")
BUNDLE = "bundle_emb."
EmbeddingsForm = Literal["clip_l and clip_g", "text_encoders_0 and text_encoders_1", "bundle"]
OUTPUT_ROWS = ("clip_l_out", "clip_g_out")
"""OneTrainer's output embeddings, which no other program reads."""


@dataclass(frozen=True)
class FoundEmbedding:
    """One concept's rows in a file: `first` [n, d1] and `second` [n, d2]; its name where the file says one."""

    name: str | None
    form: EmbeddingsForm
    first: Tensor
    second: Tensor


def embeddings_tensors(concept: ConceptRows) -> dict[str, Tensor]:
    """`clip_l` [n, d1] and `clip_g` [n, d2]; programs spread the file's name to all n rows."""
    return {FIRST: concept.text_encoder_1.contiguous(), SECOND: concept.text_encoder_2.contiguous()}


def numbered_tensors(first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """The same as cog-sdxl spells it."""
    return dict(zip(NUMBERED, (first.contiguous(), second.contiguous()), strict=True))


def bundled_tensors(name: str, first: Tensor, second: Tensor) -> dict[str, Tensor]:
    """The same inside of a LoRA file, for A1111 (pull request 13568); the name is what users type."""
    if not name or "." in name:
        raise DataError(f"{shown(name)!r} cannot name an embedding in a bundle: A1111 splits names at dots.")
    return {f"{BUNDLE}{name}.{FIRST}": first.contiguous(), f"{BUNDLE}{name}.{SECOND}": second.contiguous()}


def has_embeddings(names: Iterable[str]) -> bool:
    """Whether any tensor's name is an embedding's."""
    return any(is_embedding_key(name) for name in names)


def is_embedding_key(name: str) -> bool:
    """Whether a tensor's name is that of an embedding in one of the spellings."""
    return name in (FIRST, SECOND, *NUMBERED, *OUTPUT_ROWS) or name.startswith(BUNDLE)


def embeddings_in(tensors: Mapping[str, Tensor]) -> tuple[FoundEmbedding, ...]:
    """Every embedding in a file; DataError for one that lacks half or whose halves disagree."""
    return tuple(_checked(found) for found in _found(tensors))


def _found(tensors: Mapping[str, Tensor]) -> Iterator[FoundEmbedding]:
    plain: tuple[tuple[EmbeddingsForm, str, str], ...] = (
        ("clip_l and clip_g", FIRST, SECOND),
        ("text_encoders_0 and text_encoders_1", *NUMBERED),
    )
    for form, first, second in plain:
        if first in tensors or second in tensors:
            yield FoundEmbedding(None, form, *_both(tensors, first, second, first))
    names = dict.fromkeys(name.removeprefix(BUNDLE).partition(".")[0] for name in tensors if name.startswith(BUNDLE))
    for name in names:
        start = f"{BUNDLE}{name}."
        yield FoundEmbedding(name, "bundle", *_both(tensors, start + FIRST, start + SECOND, start))


def _both(tensors: Mapping[str, Tensor], first: str, second: str, name: str) -> tuple[Tensor, Tensor]:
    if first not in tensors or second not in tensors:
        there = [key for key in tensors if key.startswith(name.split(".")[0]) or key in (first, second)]
        raise DataError(
            f"The embedding {shown(name)} has rows for one text encoder only ({shown(', '.join(there[:3]))}).",
            remedy="It is of another family than SDXL, or was cut; take one with clip_l and clip_g.",
        )
    return tensors[first], tensors[second]


def _checked(found: FoundEmbedding) -> FoundEmbedding:
    """The same with rows in two dimensions."""
    first, second = (rows.unsqueeze(0) if rows.ndim == 1 else rows for rows in (found.first, found.second))
    if first.ndim != 2 or second.ndim != 2 or len(first) != len(second) or not len(first):
        shapes = f"{tuple(first.shape)} and {tuple(second.shape)}"
        raise DataError(f"The embedding {shown(found.name or '')} has rows of the shapes {shapes}, which do not agree.")
    return FoundEmbedding(found.name, found.form, first, second)
