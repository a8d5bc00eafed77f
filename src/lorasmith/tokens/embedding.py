# pyright: reportUnknownMemberType=false
"""Owns the vectors of new tokens: a few fp32 rows beside a frozen table; refuses to touch the table itself."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from lorasmith import rng

NORM_PULL = 0.1
"""Share of the spread's distance (in logarithms) that one pull takes back; the reference's value."""


class NewTokenEmbedding(nn.Module):
    """A token table whose first rows are frozen and whose rows from `first_id` on are the new tokens'.

    Stands where the text encoder's `token_embedding` stood. `rows` [n, width] is the only parameter; it stays fp32
    whatever the table's dtype, and is rounded to it only in the look-up.
    """

    def __init__(self, frozen: nn.Embedding, rows: Tensor, *, first_id: int) -> None:
        super().__init__()
        self.frozen = frozen.requires_grad_(False)
        self.rows = nn.Parameter(rows.float())
        self.first_id = first_id
        self.spread = table_spread(frozen.weight)

    @property
    def weight(self) -> Tensor:
        """The frozen table [vocabulary, width], for code that asks an embedding for its dtype or device."""
        return self.frozen.weight

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [B, tokens] to vectors [B, tokens, width] in the table's dtype."""
        is_new = ids >= self.first_id
        known = self.frozen(ids.masked_fill(is_new, 0))
        new = functional.embedding((ids - self.first_id).clamp(min=0), self.rows)
        return torch.where(is_new.unsqueeze(-1), new.to(known.dtype), known)

    def norm_pull(self) -> float:
        """The factor that takes the rows' joint spread a tenth of the way (in logarithms) to the table's.

        The reference's rule (`TokenEmbeddingsHandler.retract_embeddings`): rows ← rows · (σ_table ÷ σ_rows)^0.1.
        """
        rows = self.rows.detach()
        spread = rows.std().item() if rows.numel() > 1 else rows.abs().max().item()
        return (self.spread / spread) ** NORM_PULL if spread > 0 else 1.0


def table_spread(table: Tensor) -> float:
    """The standard deviation over all entries of a token table [vocabulary, width]."""
    return table.detach().float().std().item()


def random_rows(count: int, table: Tensor, *, seed: int, encoder: str, word: str) -> Tensor:
    """`count` fp32 rows drawn at the table's spread, counted by seed, encoder and word."""
    generator = rng.generator(seed, "new_tokens", encoder, word)
    return torch.randn(count, table.shape[1], generator=generator) * table_spread(table)


def rows_from_words(count: int, table: Tensor, word_ids: Sequence[int]) -> Tensor:
    """`count` fp32 rows that start from the vectors of some words' tokens.

    As many words as rows: one each. More: each row is the mean of its share. Fewer: the words repeat.
    """
    vectors = table.detach()[torch.tensor(word_ids)].float().cpu()
    if len(word_ids) < count:
        return vectors[torch.arange(count) % len(word_ids)].clone()
    return torch.stack([chunk.mean(0) for chunk in vectors.tensor_split(count)])
