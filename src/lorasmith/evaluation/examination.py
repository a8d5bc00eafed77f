"""Owns what is drawn to examine a concept: prompts, seeds and scales, counted; refuses to draw any of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from lorasmith import rng
from lorasmith.world import Scene

Role = Literal["prompt", "bare", "class_word", "unrelated", "caption"]
ROLES: Final[tuple[Role, ...]] = ("prompt", "bare", "class_word", "unrelated", "caption")


@dataclass(frozen=True)
class Asked:
    """A prompt with the token abstraction, and what the base is asked in its place.

    In the emoji world `scene` is what a true render shows, and `factors` what the words say of it (the concept's own
    factor left out).
    """

    text: str
    base_text: str
    scene: Scene | None = None
    factors: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True)
class Examination:
    """All that a concept is asked for.

    `bare` is the token with the class word and no more; its `base_text` is the class word without the token.
    `unrelated` prompts name neither, so that with the adapter and without it they say the same.
    """

    prompts: Sequence[Asked]
    bare: Asked
    unrelated: Sequence[Asked]
    captions: Sequence[str] = ()


@dataclass(frozen=True)
class Amounts:
    """How many pictures: seeds for each prompt, for the open prompts (bare, class word), and so on."""

    seeds: int
    open_seeds: int
    unrelated: int
    unrelated_seeds: int
    captions: int
    caption_seeds: int
    curve_open_seeds: int


QUICK: Final = Amounts(1, 12, 5, 2, 4, 1, 6)
TRIAL: Final = Amounts(1, 8, 5, 1, 4, 1, 6)
"""One of hundreds of trainings that are compared: what a single one cannot say, all together do."""
FULL: Final = Amounts(2, 24, 10, 3, 8, 2, 12)


@dataclass(frozen=True)
class Shot:
    """One picture to draw. `place` is the prompt's place in its role, `scale` the adapter's, None the base alone."""

    role: Role
    place: int
    text: str
    seed: int
    scale: float | None


def shots(examination: Examination, amounts: Amounts, *, scale: float, seed: int) -> list[Shot]:
    """Everything that is drawn at one scale and by the base alone; at equal places and numbers, equal seeds."""
    found = list[Shot]()
    for role in ROLES:
        for place, asked in enumerate(_asked(examination, amounts, role)):
            seeds = list(_seeds(role, place, _count(examination, amounts, role), seed))
            text = asked.base_text if role == "class_word" else asked.text
            found += [Shot(role, place, text, one, scale) for one in seeds]
            if role != "caption":
                found += [Shot(role, place, asked.base_text, one, None) for one in seeds]
    return found


def curve_shots(examination: Examination, amounts: Amounts, *, scale: float, seed: int) -> list[Shot]:
    """What a point of the curve over scales is measured on: each prompt once, the class word a few times."""
    prompts = [
        Shot("prompt", place, asked.text, one, scale)
        for place, asked in enumerate(examination.prompts)
        for one in _seeds("prompt", place, 1, seed)
    ]
    seeds = _seeds("class_word", 0, amounts.curve_open_seeds, seed)
    return prompts + [Shot("class_word", 0, examination.bare.base_text, one, scale) for one in seeds]


def _asked(examination: Examination, amounts: Amounts, role: Role) -> Sequence[Asked]:
    match role:
        case "prompt":
            return examination.prompts
        case "bare" | "class_word":
            return [examination.bare]
        case "unrelated":
            return examination.unrelated[: amounts.unrelated]
        case "caption":
            return [Asked(caption, caption) for caption in examination.captions[: amounts.captions]]


def _count(examination: Examination, amounts: Amounts, role: Role) -> int:
    """Seeds for each prompt of a role; where there are few captions, more for each."""
    match role:
        case "prompt":
            return amounts.seeds
        case "bare" | "class_word":
            return amounts.open_seeds
        case "unrelated":
            return amounts.unrelated_seeds
        case "caption":
            captions = min(len(examination.captions), amounts.captions)
            return -(-amounts.captions * amounts.caption_seeds // max(captions, 1))


def _seeds(role: Role, place: int, count: int, seed: int) -> Iterator[int]:
    """The bare token and the class word share their noise, so that the two can be told apart by it."""
    stream = "open" if role in ("bare", "class_word") else role
    return (rng.key(seed, "evaluation", stream, place, number) % 2**31 for number in range(count))
