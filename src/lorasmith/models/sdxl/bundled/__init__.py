# pyright: reportUnknownMemberType=false, reportArgumentType=false
# transformers' tokenizers are only partly typed.
"""Owns what a single file leaves out, SDXL's configs and CLIP's vocabulary, so that nothing is fetched for one."""

import gzip
from functools import cache
from pathlib import Path
from typing import NamedTuple

from transformers import CLIPTokenizer

_START, _END = "<|startoftext|>", "<|endoftext|>"
_LENGTH = 77


class Tokenizers(NamedTuple):
    """SDXL's two: the same words, different padding."""

    first: CLIPTokenizer
    second: CLIPTokenizer


def folder() -> Path:
    """SDXL base 1.0's configs in the diffusers layout, without weights and tokenizers."""
    return Path(__file__).parent


def tokenizers() -> Tokenizers:
    """CLIP's tokenizer twice; the second pads with `!`, id 0, as open_clip pads with zeros."""
    return Tokenizers(_tokenizer(_END), _tokenizer("!"))


def _tokenizer(pad_token: str) -> CLIPTokenizer:
    merges = _merges()
    return CLIPTokenizer(vocab=_vocabulary(merges), merges=list(merges), pad_token=pad_token, model_max_length=_LENGTH)


@cache
def _merges() -> tuple[tuple[str, str], ...]:
    """CLIP's 48,894 merges of byte pairs, the first the most frequent."""
    text = gzip.decompress((Path(__file__).parent / "clip_merges.txt.gz").read_bytes()).decode()
    return tuple((first, second) for first, _, second in (line.partition(" ") for line in text.splitlines()))


def _vocabulary(merges: tuple[tuple[str, str], ...]) -> dict[str, int]:
    """49,408 ids: every byte, every byte at a word's end, what each merge makes, start and end of text."""
    symbols = _bytes()
    words = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(pair) for pair in merges), _START, _END]
    return {word: number for number, word in enumerate(words)}


def _bytes() -> list[str]:
    """The 256 bytes in byte-level BPE's printable spelling (GPT-2), those that print as themselves first."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = sorted(set(range(256)) - set(printable))
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]
