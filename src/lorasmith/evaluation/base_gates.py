"""Owns what a base of the emoji world has to reach: balanced scenes to prompt for, and gates; refuses to draw."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from ..world import BACKGROUNDS, OBJECTS, STYLES, Scene, sample_scene
from .factors import Factor, prompted_factors
from .oracle import Reading

_SEED_OF_SCENES: Final = 90_210  # a stream of scenes that no training draws from
_READ_ALONE: Final[tuple[Factor, ...]] = ("thing", "style", "background")
_LEAST_SHARE: Final = 0.95
_LEAST_SHARE_OF_ALL: Final = 0.85
_LIMITS: Final = {"megabytes": 40.0, "load_seconds": 2.0, "seconds_for_four": 15.0}


@dataclass(frozen=True, slots=True)
class Gate:
    """A number that was measured, on what, and the limit it has to keep to."""

    name: str
    measured: float
    limit: float
    unit: str
    at_least: bool
    measured_on: str

    @property
    def is_passed(self) -> bool:
        """Whether the number keeps to its limit."""
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass(frozen=True, slots=True)
class Cost:
    """What a base costs: its files, opening it once the libraries are there, and four pictures of twenty steps."""

    megabytes: float
    load_seconds: float
    seconds_for_four: float


def base_scenes(count: int, *, seed: int = 0) -> list[Scene]:
    """Scenes to prompt a base for: objects, styles and backgrounds in balance, sizes, places and tilts as it learnt."""
    rng = random.Random(f"base scenes/{seed}")
    backgrounds = [BACKGROUNDS[place % len(BACKGROUNDS)] for place in range(count)]
    rng.shuffle(backgrounds)
    return [
        replace(
            sample_scene(_SEED_OF_SCENES + seed, place),
            thing=OBJECTS[place % len(OBJECTS)].name,
            style=STYLES[(place + place // len(OBJECTS)) % len(STYLES)],
            background=backgrounds[place],
        )
        for place in range(count)
    ]


def reading_gates(readings: Sequence[Reading], scenes: Sequence[Scene], *, drawn: str) -> list[Gate]:
    """How often the drawn pictures are read as prompted; `drawn` says how they were made."""
    pairs = list(zip(readings, scenes, strict=True))
    on = f"{len(pairs)} pictures {drawn}, read by the oracle"

    def gate(name: str, right: Sequence[bool], limit: float) -> Gate:
        return Gate(name, sum(right) / len(right), limit, "", at_least=True, measured_on=on)

    right = {factor: [read.agrees(scene, factor) for read, scene in pairs] for factor in _READ_ALONE}
    single = [gate(factor, right[factor], _LEAST_SHARE) for factor in _READ_ALONE]
    together = [read.agrees(scene, *prompted_factors(scene)) for read, scene in pairs]
    return [*single, gate("all prompted factors", together, _LEAST_SHARE_OF_ALL)]


def cost_gates(cost: Cost, *, machine: str) -> list[Gate]:
    """Size and times against their limits; `machine` says where they were taken."""
    return [
        Gate("size", cost.megabytes, _LIMITS["megabytes"], "MB", at_least=False, measured_on="files of the base"),
        Gate("opening", cost.load_seconds, _LIMITS["load_seconds"], "s", at_least=False, measured_on=machine),
        Gate(
            "4 pictures of 20 steps",
            cost.seconds_for_four,
            _LIMITS["seconds_for_four"],
            "s",
            at_least=False,
            measured_on=machine,
        ),
    ]
