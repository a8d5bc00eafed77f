"""Owns the language prompts are written in, A1111's with ComfyUI's `embedding:`: weights, breaks, names; reads no file.

`(word)`, `[word]`, `(word:1.2)`, `\\(`, `BREAK`, `<lora:name:0.8>`, `embedding:name`. Brackets that are not closed
hold to the end of the prompt and brackets that were never opened are text, both as in A1111.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

_ROUND: Final = 1.1
_SQUARE: Final = 1 / 1.1
_DEEPEST: Final = 64
"""Brackets inside one another; deeper ones are text, so that a prompt made of brackets takes no hour."""
_PIECE = re.compile(r"\\[\\()\[\]]|[()\[\]]|:\s*([+-]?(?:\d+\.?\d*|\.\d+))\s*\)|[^\\()\[\]:]+|\\|:")
_BREAK = re.compile(r"\bBREAK\b")
_TAG = re.compile(r"<(\w+):([^<>]+)>")
_EMBEDDING = re.compile(r"(?<!\w)embedding:([^\s,()\[\]<>|:;]+)", re.IGNORECASE)
_EDITING = re.compile(r"\[[^\[\]|]*\||\[[^\[\]:]*(?::[^\[\]:]*)?:\s*[\d.]+\s*\]")
_LORA_KINDS: Final = ("lora", "lyco")


@dataclass(frozen=True)
class WeightedText:
    """Words and how much they count; 1 is as they stand."""

    text: str
    weight: float = 1.0


Section = tuple[WeightedText, ...]
"""What is read together; `BREAK` begins another."""


@dataclass(frozen=True)
class LoraTag:
    """`<lora:name:1.0>`: a LoRA by name, and its strength on the denoiser and on the text encoders."""

    name: str
    denoiser: float = 1.0
    text_encoders: float = 1.0


@dataclass(frozen=True)
class TaggedPrompt:
    """A prompt's words without its tags, its LoRAs in order, and the tags that mean nothing here, as they stood."""

    words: str
    loras: tuple[LoraTag, ...]
    unknown: tuple[str, ...]


def without_tags(prompt: str) -> TaggedPrompt:
    """Take the LoRAs (`<lora:…>`, `<lyco:…>`) out of a prompt. ValueError, with the tag, where a strength is no number.

    As in A1111 the first number is the text encoders' strength and the second the denoiser's, which is the first where
    there is none; `te=` and `unet=` name them.
    """
    loras, unknown = list[LoraTag](), list[str]()

    def take(match: re.Match[str]) -> str:
        if match[1].lower() in _LORA_KINDS:
            loras.append(_lora_tag(match))
        else:
            unknown.append(match.group())
        return ""

    return TaggedPrompt(_TAG.sub(take, prompt), tuple(loras), tuple(unknown))


def sections(prompt: str) -> tuple[Section, ...]:
    """A prompt's words with their weights, in sections: one, and another after each `BREAK`."""
    return tuple(tuple(_merged(section)) for section in _split_at_breaks(_weighted(prompt)))


def is_plain(parts: Sequence[Section]) -> bool:
    """Whether nothing in a prompt is weighted and nothing breaks it."""
    return len(parts) == 1 and all(piece.weight == 1 for piece in parts[0])


def plain_text(parts: Sequence[Section]) -> str:
    """The words alone, without weights and breaks."""
    return " ".join("".join(piece.text for piece in section) for section in parts)


def replace_embeddings(prompt: str, write_out: Callable[[str], str]) -> str:
    """The prompt with each ComfyUI's `embedding:name` replaced by what `write_out` gives for the name."""

    def replace(match: re.Match[str]) -> str:
        name = match[1].rstrip(".!?")
        return write_out(name) + match[1][len(name) :]

    return _EMBEDDING.sub(replace, prompt)


def has_editing(prompt: str) -> bool:
    """Whether a prompt uses A1111's `[from:to:0.5]` or `[one|other]`, which change it between steps."""
    return _EDITING.search(prompt) is not None


def _lora_tag(match: re.Match[str]) -> LoraTag:
    name, *values = match[2].split(":")
    named = dict(value.split("=", 1) for value in values if "=" in value)
    numbers = [value for value in values if "=" not in value]
    try:
        first = float(named.get("te", numbers[0] if numbers else 1.0))
        second = float(named.get("unet", numbers[1] if len(numbers) > 1 else first))
    except ValueError:
        raise ValueError(match.group()) from None
    if not all(abs(strength) <= 10 for strength in (first, second)):  # NaN is not either
        raise ValueError(match.group())
    return LoraTag(name.strip(), denoiser=second, text_encoders=first)


@dataclass
class _Run:
    """Words being read, whose weight brackets may still change; None stands for a `BREAK`."""

    text: str | None
    weight: float = 1.0


def _weighted(prompt: str) -> list[_Run]:
    runs = list[_Run]()
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def close(bracket: str, weight: float) -> None:
        for run in runs[opened[bracket].pop() :]:
            run.weight *= weight

    for match in _PIECE.finditer(prompt):
        piece, weight = match.group(), match[1]
        if piece.startswith("\\"):
            runs.append(_Run(piece[1:]))
        elif piece in opened and sum(map(len, opened.values())) < _DEEPEST:
            opened[piece].append(len(runs))
        elif weight is not None and opened["("]:
            close("(", float(weight))
        elif piece == ")" and opened["("]:
            close("(", _ROUND)
        elif piece == "]" and opened["["]:
            close("[", _SQUARE)
        else:
            runs += _broken(piece)
    for bracket, weight in (("(", _ROUND), ("[", _SQUARE)):
        while opened[bracket]:
            close(bracket, weight)
    return runs


def _broken(text: str) -> list[_Run]:
    """The text's parts with a mark for each `BREAK` between them."""
    first, *others = _BREAK.split(text)
    if not others:
        return [_Run(first)]
    return [_Run(first.rstrip()), *(run for other in others for run in (_Run(None), _Run(other.strip())))]


def _split_at_breaks(runs: Sequence[_Run]) -> list[list[WeightedText]]:
    parts: list[list[WeightedText]] = [[]]
    for run in runs:
        if run.text is None:
            parts.append([])
        elif run.text:
            parts[-1].append(WeightedText(run.text, run.weight))
    return parts


def _merged(section: Sequence[WeightedText]) -> list[WeightedText]:
    """Neighbours of one weight as one, so that `(a:1.0) b` is read as `a b` is."""
    return [
        WeightedText("".join(piece.text for piece in alike), weight)
        for weight, alike in groupby(section, key=lambda piece: piece.weight)
    ]
