"""Owns the wording of scenes: full prompts, and captions with dropped factors and varied order; refuses pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final

from .catalogue import COLOURS, PLACES_OF_SCENES, find_object
from .scene import Scene

PLACE_WORDS: Final = {"left": "on the left", "right": "on the right", "top": "at the top", "bottom": "at the bottom"}
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True, slots=True)
class Parts:
    """The pieces of a caption; an empty piece is a factor left unsaid."""

    noun: str
    size: str
    style: str
    background: str
    place: str
    tilt: str


def prompt_of(scene: Scene, *, noun: str | None = None) -> str:
    """The whole scene in the plainest order; `noun` takes the object's place (a token abstraction, a class word)."""
    return _sentence(_parts(scene, noun=noun or f"{scene.thing} emoji"))


def sample_caption(scene: Scene, rng: random.Random) -> str:
    """One of the many ways to say `scene`: factors dropped, order varied, sometimes a class word or an unknown word."""
    parts = _dropped(_parts(scene, noun=_sample_noun(scene, rng)), rng)
    return rng.choices((_sentence, _background_first, _listed(rng)), (62, 18, 20))[0](parts)


def background_phrase(background: str) -> str:
    """How a background is said after the object: `on a red background`, `in the snow`."""
    if background in COLOURS:
        return f"on a {background} background"
    return PLACES_OF_SCENES[background]


def with_article(words: str) -> str:
    """`an owl`, `a red owl`; plurals the world uses (cherries, grapes) go without."""
    first = words.split(" ", 1)[0]
    if words in ("cherries", "grapes"):
        return words
    return f"{'an' if first[0] in 'aeiou' and first != 'unicorn' else 'a'} {words}"


def _parts(scene: Scene, *, noun: str) -> Parts:
    return Parts(
        noun=noun,
        size="" if scene.size == "normal" else scene.size,
        style=scene.style,
        background=scene.background,
        place=PLACE_WORDS.get(scene.place, ""),
        tilt="" if scene.tilt == "upright" else f"tilted {scene.tilt}",
    )


def _sample_noun(scene: Scene, rng: random.Random) -> str:
    kind = rng.choices(("name", "category", "emoji", "unknown"), (82, 11, 3, 4))[0]
    if kind == "emoji":
        return "emoji"
    word = {
        "name": scene.thing,
        "category": find_object(scene.thing).category,
        "unknown": "".join(rng.choices(_LETTERS, k=rng.randint(2, 6))),
    }[kind]
    return f"{word} emoji" if rng.random() < 0.8 else word


def _dropped(parts: Parts, rng: random.Random) -> Parts:
    """Each factor is left unsaid now and then, so that a prompt without it has a known prior."""

    def keep(word: str, chance: float) -> str:
        return word if rng.random() < chance else ""

    return Parts(
        noun=parts.noun,
        size=keep(parts.size, 0.92),
        style=keep(parts.style, 0.75),
        background=keep(parts.background, 0.88),
        place=keep(parts.place, 0.85),
        tilt=keep(parts.tilt, 0.92),
    )


def _object_phrase(parts: Parts) -> str:
    return with_article(" ".join(word for word in (parts.size, parts.noun) if word))


def _joined(*phrases: str) -> str:
    return " ".join(phrase for phrase in phrases if phrase)


def _style_phrase(parts: Parts) -> str:
    return f"in {parts.style} style" if parts.style else ""


def _background_phrase(parts: Parts) -> str:
    return background_phrase(parts.background) if parts.background else ""


def _sentence(parts: Parts) -> str:
    return _joined(_object_phrase(parts), parts.tilt, _style_phrase(parts), parts.place, _background_phrase(parts))


def _background_first(parts: Parts) -> str:
    rest = _joined(_object_phrase(parts), parts.tilt, _style_phrase(parts), parts.place)
    return ", ".join(phrase for phrase in (_background_phrase(parts), rest) if phrase)


def _listed(rng: random.Random):
    def listed(parts: Parts) -> str:
        style = f"{parts.style} style" if parts.style else ""
        background = parts.background
        background = f"{background} background" if background in COLOURS else PLACES_OF_SCENES.get(background, "")
        pieces = [piece for piece in (parts.size, parts.tilt, style, parts.place, background) if piece]
        rng.shuffle(pieces)
        pieces.insert(0 if rng.random() < 0.7 else rng.randint(0, len(pieces)), parts.noun)
        return ", ".join(pieces)

    return listed
