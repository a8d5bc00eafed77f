"""Owns the factors that a picture of the emoji world is read by, and the values of each; refuses to read pictures."""

from __future__ import annotations

from typing import Final, Literal, assert_never, get_args

from ..world import (
    BACKGROUNDS,
    COATS,
    HELD_OUT_OBJECTS,
    OBJECTS,
    PATTERN_COLOURS,
    PATTERNS,
    PLACES,
    SHIPPED_STYLES,
    SIZES,
    TILTS,
    Scene,
)

Factor = Literal["thing", "style", "background", "size", "place", "tilt", "coat", "pattern", "pattern_colour"]

FACTORS: Final[tuple[Factor, ...]] = get_args(Factor)
SCENE_FACTORS: Final[tuple[Factor, ...]] = ("thing", "style", "background", "size", "place", "tilt")
TRAIT_FACTORS: Final[tuple[Factor, ...]] = ("coat", "pattern", "pattern_colour")

NATURAL: Final = "natural"  # the coat of an object that wears no identity's
NO_COLOUR: Final = "none"  # the pattern colour of an object without a pattern

VALUES: Final[dict[Factor, tuple[str, ...]]] = {
    "thing": tuple(thing.name for thing in (*OBJECTS, *HELD_OUT_OBJECTS)),
    "style": SHIPPED_STYLES,
    "background": BACKGROUNDS,
    "size": SIZES,
    "place": PLACES,
    "tilt": TILTS,
    "coat": (NATURAL, *COATS),
    "pattern": PATTERNS,
    "pattern_colour": (NO_COLOUR, *PATTERN_COLOURS),
}


def prompted_factors(scene: Scene) -> tuple[Factor, ...]:
    """The factors that the whole prompt of `scene` says: size, place and tilt only where they are not the usual."""
    said: dict[Factor, bool] = {
        "thing": True,
        "style": True,
        "background": True,
        "size": scene.size != "normal",
        "place": scene.place != "middle",
        "tilt": scene.tilt != "upright",
    }
    return tuple(factor for factor in SCENE_FACTORS if said[factor])


def value_of(scene: Scene, factor: Factor) -> str:
    """What `scene` says of `factor`; without an identity the coat is natural, and plain."""
    match factor:
        case "thing" | "style" | "background" | "size" | "place" | "tilt":
            return str(getattr(scene, factor))
        case "coat":
            return NATURAL if scene.identity is None else scene.identity.coat
        case "pattern":
            return PATTERNS[0] if scene.identity is None else scene.identity.pattern
        case "pattern_colour":
            return NO_COLOUR if scene.identity is None else scene.identity.pattern_colour or NO_COLOUR
        case _:
            assert_never(factor)
