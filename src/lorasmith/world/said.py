"""Owns the reading of prompts back into the factors they name; refuses to guess those they leave unsaid."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, get_args

from .captions import PLACE_WORDS
from .catalogue import COLOURS, PLACES_OF_SCENES
from .scene import Place, Size, Tilt


@dataclass(frozen=True, slots=True)
class Said:
    """The factors that a prompt names, None for each it does not; the noun is what is left, such as `TOK emoji`."""

    noun: str
    style: str | None
    background: str | None
    size: Size | None
    place: Place | None
    tilt: Tilt | None


def factors_said(prompt: str) -> Said:
    """Read a prompt in the world's words, in any of the orders that captions have."""
    rest, tilt = _taken(r"tilted (left|right)", prompt)
    rest, colour = _taken(rf"(?:on a )?({'|'.join(COLOURS)}) background", rest)
    rest, scene = _taken(_any_of(PLACES_OF_SCENES.values()), rest)
    rest, place = _taken(_any_of(PLACE_WORDS.values()), rest)
    rest, style = _taken(r"(?:in )?(\S+) style", rest)
    rest, size = _taken(r"(small|large)", rest)
    noun = re.sub(r"^(?:an?|the)\b", "", " ".join(rest.replace(",", " ").split())).strip()
    return Said(
        noun=noun,
        style=style,
        background=colour or _BY_PHRASE.get(scene or ""),
        size=_SIZES.get(size or ""),
        place=_PLACES.get(place or ""),
        tilt=_TILTS.get(tilt or ""),
    )


def _taken(pattern: str, text: str) -> tuple[str, str | None]:
    """The text without the first phrase that matches, and what its group holds."""
    found = re.search(rf"\b{pattern}\b", text)
    if found is None:
        return text, None
    return text[: found.start()] + text[found.end() :], found[1]


def _any_of(phrases: Iterable[str]) -> str:
    return f"({'|'.join(map(re.escape, phrases))})"


_BY_PHRASE: Final = {phrase: background for background, phrase in PLACES_OF_SCENES.items()}
_PLACES: Final[dict[str, Place]] = {PLACE_WORDS[place]: place for place in get_args(Place) if place in PLACE_WORDS}
_SIZES: Final[dict[str, Size]] = {size: size for size in get_args(Size)}
_TILTS: Final[dict[str, Tilt]] = {tilt: tilt for tilt in get_args(Tilt)}
