# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# transformers' tokenizers are only partly typed.
"""Owns prompts longer than a text encoder reads at once: what of them is cut off, and how they fall into chunks.

Nothing here knows how long that is (SDXL: 75 tokens between start and end of text): the tokenizer says it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import TypeVar

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

_Token = TypeVar("_Token")

MOST_CHUNKS = 16
"""Chunks of one prompt; a file of a megabyte that was meant to be something else makes thousands."""


@dataclass(frozen=True)
class LongPrompt:
    """A prompt longer than the text encoders read at once."""

    prompt: str
    tokens: int
    """Without start and end of text."""
    unread: int
    """How many tokens at its end are not read when it is cut."""
    unread_text: str
    """The same in words, as the tokenizer spells them."""
    chunks: int
    """How many chunks it makes when it is not cut."""


def room(tokenizer: PreTrainedTokenizerBase) -> int:
    """How many tokens are read at once, besides start and end of text."""
    return tokenizer.model_max_length - tokenizer.num_special_tokens_to_add()


def long_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> LongPrompt | None:
    """What is to be said of a prompt that is longer than is read at once; None for one that fits."""
    ids = _ids(tokenizer, prompt)
    unread = ids[room(tokenizer) :]
    if not unread:
        return None
    return LongPrompt(
        prompt, len(ids), len(unread), str(tokenizer.decode(unread)).strip(), len(chunks(tokenizer, prompt))
    )


def chunk_ids(tokenizer: PreTrainedTokenizerBase, prompt: str) -> Tensor:
    """A prompt's ids [chunks, tokens], each chunk with start and end of text and padded as the tokenizer pads."""
    return torch.tensor([_wrapped(tokenizer, chunk) for chunk in chunks(tokenizer, prompt)])


def empty_chunk(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """The ids [1, tokens] of no words at all."""
    return torch.tensor([_wrapped(tokenizer, [])])


def chunks(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[list[int]]:
    """A prompt's ids in as many groups as it needs, each as full as whole words allow; one empty group for no words.

    A border falls between words, as in ComfyUI, so neither a word nor a concept's new tokens are torn (A1111 keeps an
    embedding whole too). Only a word longer than a chunk is, and then between tokens that are not new.
    """
    size = room(tokenizer)
    ids = _ids(tokenizer, prompt)
    if len(ids) <= size:
        return [ids]
    return _packed(_pieces(tokenizer, prompt, size), size)


def weighted_chunks(
    tokenizer: PreTrainedTokenizerBase, texts: Sequence[tuple[str, float]], *, cut: bool
) -> tuple[Tensor, Tensor]:
    """Ids and weights, each [chunks, tokens], of texts with a weight each; start, end and padding weigh 1.

    `cut` leaves out what is past the first chunk, at a token as `cut` prompts without weights are.
    """
    size = room(tokenizer)
    pieces = [[(one, weight) for one in piece] for text, weight in texts for piece in _pieces(tokenizer, text, size)]
    tokens = list(chain(*pieces))
    groups = [tokens[:size]] if cut or len(tokens) <= size else _packed(pieces, size)
    ids = torch.tensor([_wrapped(tokenizer, [one for one, _ in group]) for group in groups])
    weights = torch.ones(ids.shape)
    for row, group in enumerate(groups):
        weights[row, 1 : 1 + len(group)] = torch.tensor([weight for _, weight in group])
    return ids, weights


def _packed(pieces: Sequence[list[_Token]], size: int) -> list[list[_Token]]:
    groups: list[list[_Token]] = [[]]
    for piece in pieces:
        if len(groups[-1]) + len(piece) > size:
            groups.append([])
        groups[-1] += piece
    return groups


def _pieces(tokenizer: PreTrainedTokenizerBase, prompt: str, size: int) -> list[list[int]]:
    """What is kept together: words, and of a word that no chunk holds, its tokens and its runs of new tokens."""
    pieces: list[list[int]] = []
    for word in filter(None, prompt.split(" ")):
        ids = _ids(tokenizer, word)
        pieces += [ids] if len(ids) <= size else _parts(ids, first_new=tokenizer.vocab_size, size=size)
    return pieces


def _parts(ids: Sequence[int], *, first_new: int, size: int) -> list[list[int]]:
    parts: list[list[int]] = []
    for is_new, run in groupby(ids, key=lambda one: one >= first_new):
        together = list(run)
        step = size if is_new else 1
        parts += [together[start : start + step] for start in range(0, len(together), step)]
    return parts


def _ids(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """All ids of a text, without start and end, and without the warning that it is long: that is why we are here."""
    return tokenizer(text, add_special_tokens=False, truncation=False, verbose=False).input_ids


def _wrapped(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> list[int]:
    start, end, pad = tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id
    assert isinstance(start, int), "CLIP's tokenizers have a start of text"
    assert isinstance(end, int), "and an end"
    assert isinstance(pad, int), "and a padding token"
    whole = [start, *ids, end]
    return whole + [pad] * (tokenizer.model_max_length - len(whole))
