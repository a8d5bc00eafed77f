"""Owns genuine CLIP tokenizer files with a vocabulary made up on the spot; refuses sizes that cannot hold all bytes."""

# transformers' tokenizers are only partly typed.
# pyright: reportUnknownMemberType=false, reportArgumentType=false

import json
from collections.abc import Iterator
from itertools import islice, product
from pathlib import Path
from string import ascii_lowercase

from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
SMALL_VOCABULARY = 530
"""All bytes, inside a word and at its end, a few merges, and the two special tokens."""


def write_tokenizer(
    folder: Path, *, vocabulary_size: int = SMALL_VOCABULARY, pad_token: str = END, length: int = 77
) -> Path:
    """Write a CLIP tokenizer (vocab.json, merges.txt, tokenizer.json) whose last two ids are start and end of text."""
    symbols = [*_bytes(), *(f"{symbol}</w>" for symbol in _bytes())]
    merges = list(islice(_merges(), vocabulary_size - len(symbols) - 2))
    words = [*symbols, *("".join(merge) for merge in merges), START, END]
    if len(words) != vocabulary_size:
        raise ValueError(f"A vocabulary of {vocabulary_size} cannot be made: {len(symbols) + 2} is the smallest.")
    vocabulary = {word: index for index, word in enumerate(words)}
    CLIPTokenizer(vocab=vocabulary, merges=merges, pad_token=pad_token, model_max_length=length).save_pretrained(folder)
    # transformers 5 saves tokenizer.json alone; older programs read the other two.
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(merge) for merge in merges), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    return folder


def _bytes() -> list[str]:
    """The 256 bytes in the printable spelling of byte-level BPE (GPT-2), `!` first as in CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(others))]


def _merges() -> Iterator[tuple[str, str]]:
    """Merges in order: a few whole words first, then every pair, triple and quadruple of letters at a word's end."""
    yield from [("o", "f</w>"), ("t", "h"), ("th", "e</w>"), ("o", "n</w>"), ("p", "h"), ("ph", "o"), ("pho", "t")]
    yield from [("phot", "o</w>"), ("d", "o"), ("do", "g</w>"), ("r", "e"), ("re", "d</w>")]
    taken = {("o", "f</w>"), ("o", "n</w>")}
    yield from (pair for pair in product(ascii_lowercase, _ends()) if pair not in taken)
    for first, second, end in product(ascii_lowercase, ascii_lowercase, _ends()):
        if (first + second, end) not in {("th", "e</w>"), ("do", "g</w>"), ("re", "d</w>")}:
            yield first, second + end
    for first, second, third, end in product(ascii_lowercase, ascii_lowercase, ascii_lowercase, _ends()):
        yield first, second + third + end


def _ends() -> list[str]:
    """The letters as they stand at the end of a word."""
    return [f"{letter}</w>" for letter in ascii_lowercase]
