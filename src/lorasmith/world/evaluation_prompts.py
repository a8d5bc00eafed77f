"""Owns the 25 prompts a concept is examined with and their true renders; refuses to look at drawn pictures."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Final

from PIL import Image

from .catalogue import BACKGROUNDS, STYLES
from .compose import render
from .concepts import OBJECTS_TO_EXAMINE_STYLES, TOKEN_ABSTRACTION, Concept
from .scene import Place, Scene, Size, Tilt
from .shipped import shipped_sprites
from .sprites import Sprites

_COUNT: Final = 25
_PLACES_OF_SMALL: Final[dict[int, Place]] = {1: "left", 5: "right", 9: "top", 12: "bottom", 17: "middle", 22: "left"}
_LARGE: Final = (3, 10, 15, 20, 24)
_TILTS: Final[dict[int, Tilt]] = {2: "left", 7: "right", 14: "left", 19: "right"}
_STYLES_LATER: Final = 1  # the second round of backgrounds meets other styles than the first
_OBJECTS_APART: Final = 9  # of 34: the prompts of a style go round all kinds of objects


@dataclass(frozen=True, slots=True)
class EvaluationPrompt:
    """What is asked for: the scene in which the concept is shown, and the text that says it with the token."""

    scene: Scene
    text: str


def evaluation_prompts(concept: Concept, *, token: str = TOKEN_ABSTRACTION) -> tuple[EvaluationPrompt, ...]:
    """25 prompts that cover every background, style, size, place and tilt, the same factors for every concept."""
    scenes = (concept.shown_in(_scene(number)) for number in range(_COUNT))
    return tuple(EvaluationPrompt(scene, concept.prompt(scene, token=token)) for scene in scenes)


def true_renders(
    scene: Scene, *, count: int = 4, sprites: Sprites | None = None, side: int = 64
) -> tuple[Image.Image, ...]:
    """`count` pictures of what the scene says, each with its own small variations, none of them a training picture."""
    return tuple(render(shown, sprites or shipped_sprites(), side=side) for shown in true_scenes(scene, count=count))


def true_scenes(scene: Scene, *, count: int = 4) -> tuple[Scene, ...]:
    """The scenes of `true_renders`: jitters of a stream of their own."""
    rng = random.Random("true renders")
    return tuple(replace(scene, jitter=rng.getrandbits(32)) for _ in range(count))


def _scene(number: int) -> Scene:
    round_, place = divmod(number, len(BACKGROUNDS))
    size: Size = "small" if number in _PLACES_OF_SMALL else "large" if number in _LARGE else "normal"
    return Scene(
        OBJECTS_TO_EXAMINE_STYLES[number * _OBJECTS_APART % len(OBJECTS_TO_EXAMINE_STYLES)],
        style=STYLES[(place + round_ * _STYLES_LATER) % len(STYLES)],
        background=BACKGROUNDS[place],
        size=size,
        place=_PLACES_OF_SMALL.get(number, "middle"),
        tilt=_TILTS.get(number, "upright"),
    )
