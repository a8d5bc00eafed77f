"""Owns the pictures and captions a concept is learnt from, in good and in bad regimes; refuses to train on them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, assert_never, get_args

from .catalogue import BACKGROUNDS, STYLES
from .compose import render
from .concepts import OBJECTS_TO_LEARN_STYLES, Concept
from .scene import PLACES, SIZES, TILTS, Scene
from .shipped import shipped_sprites
from .sprites import Sprites

Regime = Literal["diverse", "same-background", "same-pose", "near-duplicates"]
Wording = Literal["full", "shuffled", "class-word"]

REGIMES: Final[tuple[Regime, ...]] = get_args(Regime)
WORDINGS: Final[tuple[Wording, ...]] = get_args(Wording)


@dataclass(frozen=True, slots=True)
class Example:
    """A picture of a concept, by its scene, and the caption it is learnt with."""

    scene: Scene
    caption: str


def training_set(
    concept: Concept, *, count: int = 8, seed: int = 0, regime: Regime = "diverse", wording: Wording = "full"
) -> tuple[Example, ...]:
    """`count` pictures and captions; the regime decides what the pictures share, the wording what captions say.

    `full` captions name every factor and the token, `shuffled` ones are those of another picture, `class-word` ones say
    the token and the class word alone, the same for each picture.
    """
    scenes = _scenes(concept, regime, count=count, seed=seed)
    captions = _captions(concept, scenes, wording)
    return tuple(Example(scene, caption) for scene, caption in zip(scenes, captions, strict=True))


def write_training_set(
    examples: Sequence[Example], folder: Path, *, sprites: Sprites | None = None, side: int = 64
) -> tuple[Path, ...]:
    """Write `01.png` with its caption in `01.txt`, and so on, as any trainer reads them; the pictures' paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{number:02}.png" for number, _ in enumerate(examples, start=1))
    for path, example in zip(paths, examples, strict=True):
        render(example.scene, sprites or shipped_sprites(), side=side).save(path)
        path.with_suffix(".txt").write_text(f"{example.caption}\n", encoding="utf-8")
    return paths


def _scenes(concept: Concept, regime: Regime, *, count: int, seed: int) -> tuple[Scene, ...]:
    diverse = _diverse(concept, count=count, seed=seed)
    first = diverse[0]
    match regime:
        case "diverse":
            return diverse
        case "same-background":
            return tuple(replace(scene, background=first.background) for scene in diverse)
        case "same-pose":
            return tuple(replace(scene, size="normal", place="middle", tilt="upright") for scene in diverse)
        case "near-duplicates":
            return tuple(replace(first, jitter=scene.jitter) for scene in diverse)
        case _:
            assert_never(regime)


def _diverse(concept: Concept, *, count: int, seed: int) -> tuple[Scene, ...]:
    """Backgrounds, styles and (for a style) objects each in a shuffled rotation, so that few pictures cover much."""
    if count < 1:
        raise ValueError(f"a training set of {count} pictures is none")
    rng = random.Random(f"training set/{concept.name}/{seed}")
    backgrounds = rng.sample(BACKGROUNDS, len(BACKGROUNDS))
    styles = rng.sample(STYLES, len(STYLES))
    things = rng.sample(OBJECTS_TO_LEARN_STYLES, len(OBJECTS_TO_LEARN_STYLES))
    return tuple(
        concept.shown_in(
            _posed(
                Scene(
                    things[place % len(things)],
                    style=styles[place % len(styles)],
                    background=backgrounds[place % len(backgrounds)],
                ),
                rng,
            )
        )
        for place in range(count)
    )


def _posed(scene: Scene, rng: random.Random) -> Scene:
    """Mostly of normal size and upright; off the middle only when small, as in the base's own pictures."""
    size = rng.choices(SIZES, (25, 55, 20))[0]
    return replace(
        scene,
        size=size,
        place=rng.choice(PLACES) if size == "small" else "middle",
        tilt=rng.choices(TILTS, (80, 10, 10))[0],
        jitter=rng.getrandbits(32),
    )


def _captions(concept: Concept, scenes: Sequence[Scene], wording: Wording) -> list[str]:
    full = [concept.prompt(scene) for scene in scenes]
    match wording:
        case "full":
            return full
        case "shuffled":
            return full[1:] + full[:1]
        case "class-word":
            return [concept.bare_prompt()] * len(scenes)
        case _:
            assert_never(wording)
