"""Owns the two towers of the small CLIP and its vocabulary, the world's words; refuses weights on disk."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..world import CATEGORIES, COLOURS, HELD_OUT_OBJECTS, OBJECTS, PLACES_OF_SCENES, SHIPPED_STYLES

WIDTH: Final = 64

_TOKENS: Final = 24
_PADDING, _UNKNOWN = 0, 1
_HEADS: Final = 4
_CHANNELS: Final = (24, 48, 64, 96)
_GRAMMAR: Final = "a an the emoji in on at style background small large tilted left right top bottom of and with sky"


class TinyClipTowers(nn.Module):
    """A tower for pictures, a tower for captions, and the temperature they are compared at."""

    def __init__(self) -> None:
        """Fresh weights; the caller seeds torch."""
        super().__init__()
        self.picture = PictureTower()
        self.caption = CaptionTower()
        self.log_scale = nn.Parameter(torch.tensor(2.6))


class PictureTower(nn.Module):
    """Five strided convolutions and a linear layer over what is left of the places."""

    def __init__(self) -> None:
        """Fresh weights."""
        super().__init__()
        widths = (3, *_CHANNELS)
        self.body = nn.Sequential(*(_halving(inputs, outputs) for inputs, outputs in pairwise(widths)))
        self.out = nn.Linear(_CHANNELS[-1] * 16, WIDTH)

    def forward(self, pictures: Tensor) -> Tensor:
        """Embed pictures (batch, 3, 64, 64) from -1 to 1 as (batch, 64)."""
        return functional.normalize(self.out(self.body(pictures).flatten(1)).float(), dim=1)


class CaptionTower(nn.Module):
    """Word and place embeddings, two layers of attention, the mean over the words."""

    def __init__(self) -> None:
        """Fresh weights."""
        super().__init__()
        self.words = nn.Embedding(len(vocabulary()), WIDTH, padding_idx=_PADDING)
        self.places = nn.Parameter(torch.randn(_TOKENS, WIDTH) * 0.02)
        layer = nn.TransformerEncoderLayer(WIDTH, _HEADS, 2 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.body = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(WIDTH, WIDTH)

    def forward(self, ids: Tensor) -> Tensor:
        """Embed token ids (batch, 24) as (batch, 64)."""
        padding = ids == _PADDING
        states = self.body(self.words(ids) + self.places, src_key_padding_mask=padding)
        kept = (~padding).unsqueeze(-1).to(states.dtype)
        mean = (states * kept).sum(dim=1) / kept.sum(dim=1).clamp(min=1)
        return functional.normalize(self.out(mean).float(), dim=1)


@cache
def vocabulary() -> dict[str, int]:
    """Every word a caption of the world can hold, numbered; 0 pads and 1 is any other word."""
    names = [thing.name for thing in (*OBJECTS, *HELD_OUT_OBJECTS)]
    phrases = (*names, *CATEGORIES, *SHIPPED_STYLES, *COLOURS, *PLACES_OF_SCENES.values(), _GRAMMAR)
    words = sorted({word for phrase in phrases for word in _words(phrase)})
    return {"<padding>": _PADDING, "<unknown>": _UNKNOWN} | {word: 2 + place for place, word in enumerate(words)}


def token_ids(captions: Sequence[str]) -> Tensor:
    """(count, 24) word numbers; longer captions are cut, an empty one is one unknown word."""
    rows = [
        [vocabulary().get(word, _UNKNOWN) for word in _words(caption)][:_TOKENS] or [_UNKNOWN] for caption in captions
    ]
    return torch.tensor([row + [_PADDING] * (_TOKENS - len(row)) for row in rows])


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)
    )


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
