# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# transformers' tokenizers are only partly typed.
"""Owns putting new tokens into a base's tokenizers and text encoders; trains nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import AddedToken, PreTrainedTokenizerBase

from lorasmith.errors import ConfigError, DataError
from lorasmith.models.family import TokenizedEncoder
from lorasmith.tokens.embedding import NewTokenEmbedding, random_rows, rows_from_words
from lorasmith.tokens.vocabulary import TokenVocabulary


@dataclass(frozen=True)
class AttachedTokens:
    """The new tokens of one text encoder, in place."""

    encoder: str
    embedding: NewTokenEmbedding

    @property
    def rows(self) -> nn.Parameter:
        """The only thing that trains: fp32 [n, width]."""
        return self.embedding.rows


def attach_new_tokens(
    text_encoders: Sequence[TokenizedEncoder], vocabulary: TokenVocabulary, *, init: Sequence[str], seed: int
) -> tuple[AttachedTokens, ...]:
    """Give both text encoders the vocabulary's new tokens, started from random rows or from words.

    `init` has one entry of words per abstraction, or none at all. Raises DataError when the base knows a token already.
    """
    return tuple(_attach(named, vocabulary, init=init, seed=seed) for named in text_encoders)


def _attach(named: TokenizedEncoder, vocabulary: TokenVocabulary, *, init: Sequence[str], seed: int) -> AttachedTokens:
    table = _frozen_table(named)
    rows = _first_rows(named, table.weight, vocabulary, init=init, seed=seed)
    first_id = add_to_tokenizer(named.tokenizer, vocabulary.tokens, rows_in_table=table.num_embeddings)
    embedding = NewTokenEmbedding(table, rows.to(table.weight.device), first_id=first_id)
    named.encoder.set_input_embeddings(embedding)
    return AttachedTokens(named.name, embedding)


def add_to_tokenizer(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str], *, rows_in_table: int) -> int:
    """Add tokens to a tokenizer as whole units; the id of the first, which follows the encoder's last row."""
    known = [token for token in tokens if token in tokenizer.get_vocab()]
    if known:
        raise DataError(
            f"the base's tokenizer already knows {', '.join(known)}", where="model.base",
            remedy="Train on the base as it was published, without another run's embeddings in it.",
        )  # fmt: skip
    first_id = len(tokenizer)
    if first_id != rows_in_table:
        raise DataError(
            f"the base's tokenizer has {first_id} tokens and its text encoder {rows_in_table} rows", where="model.base",
            remedy="The base's tokenizer and text encoder do not belong together; fetch it again.",
        )  # fmt: skip
    add_whole(tokenizer, tokens)
    return first_id


def add_whole(tokenizer: PreTrainedTokenizerBase, tokens: Sequence[str]) -> None:
    """Have a tokenizer read each of `tokens` as one; those that it has it keeps."""
    whole_units: list[str | AddedToken] = [AddedToken(token, normalized=False, special=True) for token in tokens]
    tokenizer.add_tokens(whole_units, special_tokens=True)


def _frozen_table(named: TokenizedEncoder) -> nn.Embedding:
    table = named.encoder.get_input_embeddings()
    if not isinstance(table, nn.Embedding):
        raise DataError(f"{named.name} already has new tokens attached", remedy="Open the base anew for another run.")
    return table


def _first_rows(
    named: TokenizedEncoder, table: Tensor, vocabulary: TokenVocabulary, *, init: Sequence[str], seed: int
) -> Tensor:
    rows: list[Tensor] = []
    for index, abstraction in enumerate(vocabulary.abstractions):
        count = len(abstraction.tokens)
        if init and init[index].strip():
            rows.append(rows_from_words(count, table, _word_ids(named.tokenizer, init[index])))
        else:
            rows.append(random_rows(count, table, seed=seed, encoder=named.name, word=abstraction.word))
    return torch.cat(rows)


def _word_ids(tokenizer: PreTrainedTokenizerBase, words: str) -> list[int]:
    ids: list[int] = tokenizer(words, add_special_tokens=False).input_ids
    if not ids:
        raise ConfigError(f"the words {words!r} come to no token", where="tokens.init", remedy="Give ordinary words.")
    return ids
