# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false
# compel, diffusers and transformers are only partly typed.
"""Owns reading prompts whose words have weights, by compel, in both text encoders; parses nothing, tokenizes nothing.

A word's state moves away from what the encoder says of no words at all: `empty + weight · (state − empty)`, which is
compel's formula and ComfyUI's. Pooled vectors have no weights, as in compel, ComfyUI and A1111.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from compel.embeddings_provider import EmbeddingsProvider, ReturnedEmbeddingsType
from torch import Tensor
from transformers import CLIPTokenizer

from lorasmith.inference.prompt_language import Section, is_plain, plain_text, sections
from lorasmith.models.family import PromptEmbeddings
from lorasmith.models.long_prompts import empty_chunk, weighted_chunks
from lorasmith.models.sdxl.text import TextEncoder, TextReader, encode


def read_weighted(reader: TextReader, prompt: str) -> PromptEmbeddings:
    """A prompt in A1111's language to embeddings [1, tokens, width]; one without weights as in training, to the bit."""
    parts = sections(prompt)
    if is_plain(parts):
        return reader.read([plain_text(parts)])
    first, second = _same_count([_chunks_of(tokenizer, parts, reader) for tokenizer in reader.tokenizers], reader)
    hidden = [
        _weighted_states(encoder, tokenizer, chunks, clip_skip=reader.config.clip_skip)
        for encoder, tokenizer, chunks in zip(reader.encoders, reader.tokenizers, (first, second), strict=True)
    ]
    beginning = (first.ids[:1], second.ids[:1])
    pooled = encode(reader.encoders, beginning, clip_skip=reader.config.clip_skip).pooled
    return PromptEmbeddings(torch.cat(hidden, dim=-1).to(pooled.dtype), pooled)


@dataclass(frozen=True)
class _Chunks:
    """Ids and weights, each [chunks, tokens]."""

    ids: Tensor
    weights: Tensor


@dataclass(frozen=True)
class _AtLayer:
    """A text encoder as compel calls it, whose last layers but one are left out."""

    encoder: TextEncoder
    clip_skip: int

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.encoder.device

    def __call__(self, ids: Tensor, attention_mask: Tensor | None, **more: Any) -> Any:
        """What the encoder says, without the layers to leave out."""
        said: Any = self.encoder(ids, attention_mask, **more)
        if self.clip_skip:
            said.hidden_states = said.hidden_states[: -self.clip_skip]
        return said


def _chunks_of(tokenizer: CLIPTokenizer, parts: Sequence[Section], reader: TextReader) -> _Chunks:
    """Every section begins with a chunk of its own."""
    cut = reader.config.long_prompts == "cut"
    found = [
        weighted_chunks(tokenizer, [(piece.text, piece.weight) for piece in section], cut=cut) for section in parts
    ]
    return _Chunks(torch.cat([ids for ids, _ in found]), torch.cat([weights for _, weights in found]))


def _same_count(both: Sequence[_Chunks], reader: TextReader) -> list[_Chunks]:
    """Both tokenizers' chunks; were one to need fewer, it gets empty ones."""
    count = max(len(chunks.ids) for chunks in both)
    return [_filled(chunks, tokenizer, count) for chunks, tokenizer in zip(both, reader.tokenizers, strict=True)]


def _filled(chunks: _Chunks, tokenizer: CLIPTokenizer, count: int) -> _Chunks:
    empty = [empty_chunk(tokenizer)] * (count - len(chunks.ids))
    weights = torch.ones(count - len(chunks.ids), chunks.weights.shape[1])
    return _Chunks(torch.cat([chunks.ids, *empty]), torch.cat([chunks.weights, weights]))


def _weighted_states(encoder: TextEncoder, tokenizer: CLIPTokenizer, chunks: _Chunks, *, clip_skip: int) -> Tensor:
    """One encoder's states [1, chunks · tokens, width]."""
    at_layer: Any = _AtLayer(encoder, clip_skip)
    provider = EmbeddingsProvider(
        tokenizer,
        at_layer,
        truncate=False,
        returned_embeddings_type=ReturnedEmbeddingsType.PENULTIMATE_HIDDEN_STATES_NON_NORMALIZED,
    )
    ids, weights = chunks.ids.flatten().to(encoder.device), chunks.weights.flatten().to(encoder.device)
    return provider.build_weighted_embedding_tensor(ids, weights)
