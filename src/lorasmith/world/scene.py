"""Owns the description of one picture, every factor named; refuses to know how it is drawn or worded."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Final, Literal, get_args

from .catalogue import BACKGROUNDS, COLOURS, OBJECTS, PLACES_OF_SCENES, STYLES
from .identities import Identity

Size = Literal["small", "normal", "large"]
Place = Literal["middle", "left", "right", "top", "bottom"]
Tilt = Literal["upright", "left", "right"]

SIZES: Final[tuple[Size, ...]] = get_args(Size)
PLACES: Final[tuple[Place, ...]] = get_args(Place)
TILTS: Final[tuple[Tilt, ...]] = get_args(Tilt)


@dataclass(frozen=True, slots=True)
class Scene:
    """All that decides a picture: the named factors, and `jitter`, the seed of the small variations around them.

    With an identity the object wears its coat and pattern; `thing` is then the identity's.
    """

    thing: str
    style: str = "3d"
    background: str = "white"
    size: Size = "normal"
    place: Place = "middle"
    tilt: Tilt = "upright"
    jitter: int = 0
    identity: Identity | None = None

    def __post_init__(self) -> None:
        """Refuse an identity of another object with a ValueError."""
        if self.identity is not None and self.identity.thing != self.thing:
            raise ValueError(f"the scene shows a {self.thing}, its identity is a {self.identity.thing}")


def sample_scene(
    seed: int,
    index: int,
    *,
    things: tuple[str, ...] = tuple(thing.name for thing in OBJECTS),
    styles: tuple[str, ...] = STYLES,
) -> Scene:
    """Scene number `index` of stream `seed`: objects and styles in rotation (so balanced), the rest drawn at random."""
    rng = random.Random(f"scene/{seed}/{index}")
    size = rng.choices(SIZES, (22, 60, 18))[0]
    return Scene(
        thing=things[index % len(things)],
        style=styles[(index // len(things)) % len(styles)],
        background=_sample_background(rng),
        size=size,
        place=rng.choice(PLACES) if size == "small" else "middle",
        tilt=rng.choices(TILTS, (88, 6, 6))[0],
        jitter=rng.getrandbits(32),
    )


def _sample_background(rng: random.Random) -> str:
    """A colour in 70 % of pictures, a simple scene in 30 %."""
    kinds = tuple(COLOURS) if rng.random() < 0.7 else tuple(PLACES_OF_SCENES)
    background = rng.choice(kinds)
    assert background in BACKGROUNDS
    return background
