"""Owns `{red|green}` and `__colour__` in captions: what they may become; refuses braces that do not match."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from lorasmith.data.wording import shown
from lorasmith.errors import DataError

_FILE = re.compile(r"__([A-Za-z0-9](?:[A-Za-z0-9-]|_(?!_))*)__")
_DEEPEST = 8
"""How often wildcards may stand in each other."""
_LARGEST_FILE = 64 * 2**10
_MOST = 10**9


@dataclass(frozen=True)
class Choice:
    """One of several wordings."""

    wordings: tuple["Wording", ...]


@dataclass(frozen=True)
class Wording:
    """Text and choices, one after the other."""

    parts: tuple["str | Choice", ...]

    def written(self, choose: Callable[[Sequence["Wording"]], "Wording"]) -> str:
        """The text with `choose` asked at each choice, from the first to the last, outside before inside."""
        return "".join(part if isinstance(part, str) else choose(part.wordings).written(choose) for part in self.parts)

    @property
    def plain(self) -> str:
        """The text with the first of each choice."""
        return self.written(lambda wordings: wordings[0])

    @property
    def count(self) -> int:
        """How many texts it may become (the same one twice counts twice); a billion stands for all that is more."""
        counted = 1
        for part in self.parts:
            if isinstance(part, Choice):
                counted = min(_MOST, counted * sum(one.count for one in part.wordings))
        return counted


def wording_of(text: str) -> Wording:
    """The text with its choices found. Raises DataError for braces that do not match."""
    wordings, end = _wordings(text, 0, 0)
    if end < len(text):
        raise _refusal(text, f"there is a }} too many at character {end + 1}")
    return wordings[0]


def with_files_written_in(text: str, folder: Path | None) -> str:
    """The text with each `__name__` as a choice of the lines of `name.txt` in the folder; lines may name further ones.

    Raises DataError when there is no such file, or when files name each other without end.
    """
    for _ in range(_DEEPEST):
        if not _FILE.search(text):
            return text
        text = _FILE.sub(lambda found: _choice_of(found.group(1), folder), text)
        if len(text) > _LARGEST_FILE * _DEEPEST:
            break
    raise _refusal(text, "its wildcards name each other without end")


def _choice_of(name: str, folder: Path | None) -> str:
    if folder is None:
        raise DataError(
            f"a caption has the wildcard __{name}__, and there is no folder of wildcards",
            where="data.wildcard_folder",
            remedy=f"Give the folder that {name}.txt is in.",
        )
    lines = [line.strip() for line in _text_of(folder / f"{name}.txt").splitlines()]
    choices = [line for line in lines if line and not line.startswith("#")]
    if not choices:
        raise DataError(f"{name}.txt has no line to choose", where=shown(folder), remedy="Write one choice a line.")
    return "{" + "|".join(choices) + "}"


def _text_of(file: Path) -> str:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise DataError(f"a file of wildcards is larger than {_LARGEST_FILE:,} bytes", where=shown(file))
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise DataError(
            f"the wildcard __{file.stem}__ cannot be read: {why}", where=shown(file), remedy="Check its name."
        ) from error


def _wordings(text: str, start: int, depth: int) -> tuple[tuple[Wording, ...], int]:
    """The wordings from `start` to the brace that ends them (or the end of the text), and where that is."""
    if depth > _DEEPEST:
        raise _refusal(text, f"its braces are more than {_DEEPEST} deep")
    found: list[Wording] = []
    parts: list[str | Choice] = []
    at = start
    while at < len(text) and text[at] != "}":
        if text[at] == "{":
            inner, end = _wordings(text, at + 1, depth + 1)
            if end >= len(text):
                raise _refusal(text, f"the {{ at character {at + 1} is not closed")
            parts.append(Choice(inner))
            at = end + 1
        elif text[at] == "|" and depth:
            found.append(Wording(tuple(parts)))
            parts, at = [], at + 1
        else:
            end = _end_of_plain(text, at, inside=depth > 0)
            parts.append(text[at:end])
            at = end
    return (*found, Wording(tuple(parts))), at


def _end_of_plain(text: str, start: int, *, inside: bool) -> int:
    ends = "{}|" if inside else "{}"
    return next((at for at in range(start, len(text)) if text[at] in ends), len(text))


def _refusal(text: str, why: str) -> DataError:
    return DataError(
        f"the wildcards of a caption cannot be read, {why}: {shown(text)!r}",
        remedy="Write a choice as {red|green}, or set data.wildcards to false.",
    )
