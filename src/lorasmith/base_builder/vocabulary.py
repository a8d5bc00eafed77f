"""Owns the byte-pair vocabulary learnt from the world's words, in genuine CLIPTokenizer files; refuses encoders."""
# pyright: basic

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer, models, trainers
from transformers import CLIPTokenizer

from ..world import CATEGORIES, COLOURS, HELD_OUT_OBJECTS, HELD_OUT_STYLES, OBJECTS, PLACES_OF_SCENES, STYLES

_GRAMMAR = "a an the emoji in on at style background small large tilted left right top bottom of and with picture photo"
_START, _END = "<|startoftext|>", "<|endoftext|>"


def world_words() -> list[str]:
    """Every word a caption of the world can contain, held-out names too (their embeddings stay as they start)."""
    names = [thing.name for thing in (*OBJECTS, *HELD_OUT_OBJECTS)]
    phrases = [*names, *CATEGORIES, *STYLES, *HELD_OUT_STYLES, *COLOURS, *PLACES_OF_SCENES.values(), _GRAMMAR]
    return sorted({word for phrase in phrases for word in phrase.split() if word.isalpha()})


def write_vocabulary(folder: Path, *, size: int) -> int:
    """Write vocab.json and merges.txt in CLIP's order (bytes, bytes that end a word, merges, start, end); the size."""
    merges = _learn_merges(world_words(), size)
    letters = _byte_letters()
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges), _START, _END]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps({piece: number for number, piece in enumerate(pieces)}))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(pieces)


def load_tokenizer(folder: Path, *, pad_token: str, length: int) -> CLIPTokenizer:
    """A CLIPTokenizer over the written vocabulary that pads with `pad_token` to `length`."""
    return CLIPTokenizer.from_pretrained(str(folder), pad_token=pad_token, model_max_length=length)


def save_tokenizer(tokenizer: CLIPTokenizer, source: Path, folder: Path) -> None:
    """Save for every reader: tokenizer.json for new ones, vocab.json and merges.txt for old ones."""
    tokenizer.save_pretrained(str(folder))
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(source / name, folder / name)


def encode_captions(tokenizer: CLIPTokenizer, captions: list[str], *, length: int) -> npt.NDArray[np.int16]:
    """Token ids (count, length), padded with the end of text."""
    encoded = tokenizer(captions, padding="max_length", max_length=length, truncation=True, return_tensors="np")
    return encoded["input_ids"].astype(np.int16)


def _learn_merges(words: list[str], size: int) -> list[tuple[str, str]]:
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    trainer = trainers.BpeTrainer(vocab_size=size, end_of_word_suffix="</w>", show_progress=False)
    learner.train_from_iterator(((word for _ in range(3)) for word in words), trainer)
    merges = json.loads(learner.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in merges]


def _byte_letters() -> list[str]:
    """The 256 letters that stand for bytes, in the order of GPT-2's and CLIP's vocabularies; the first is `!`."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(hidden))]
