"""Owns identities, known objects in a coat and a pattern of their own, and their siblings; refuses to draw them."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Final, Literal, get_args

from .catalogue import OBJECTS, find_object

Coat = Literal["orange", "lime", "cyan", "magenta", "indigo", "brown"]
Pattern = Literal["plain", "stripes", "bands", "dots", "checks", "halves"]
PatternColour = Literal["white", "black", "red", "blue", "yellow"]
Trait = Literal["coat", "pattern", "pattern_colour"]

COATS: Final[tuple[Coat, ...]] = get_args(Coat)
PATTERNS: Final[tuple[Pattern, ...]] = get_args(Pattern)
PATTERN_COLOURS: Final[tuple[PatternColour, ...]] = get_args(PatternColour)
TRAITS: Final[tuple[Trait, ...]] = get_args(Trait)

# Pairs that a person cannot tell from a plain coat at 64 pixels.
_UNCLEAR: Final[frozenset[tuple[Coat, PatternColour]]] = frozenset(
    {
        ("orange", "red"),
        ("orange", "yellow"),
        ("lime", "yellow"),
        ("magenta", "red"),
        ("indigo", "blue"),
        ("indigo", "black"),
        ("brown", "black"),
        ("brown", "red"),
    }
)
_PRIVATE_IN: Final = 4  # one identity in four is kept from everything that learns to read identities


@dataclass(frozen=True, slots=True)
class Identity:
    """A known object in one of six coats, plain (then without a pattern colour) or with a pattern in a colour."""

    thing: str
    coat: Coat
    pattern: Pattern = "plain"
    pattern_colour: PatternColour | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be seen: a ValueError that says what is wrong."""
        if find_object(self.thing).held_out:
            raise ValueError(f"an identity varies an object the base knows, and {self.thing!r} is held out")
        if (self.pattern == "plain") != (self.pattern_colour is None):
            raise ValueError(f"{self.pattern!r} with the pattern colour {self.pattern_colour!r}: only plain has none")
        if (self.coat, self.pattern_colour) in _UNCLEAR:
            raise ValueError(f"{self.pattern_colour} on {self.coat} cannot be seen at 64 pixels")

    @property
    def name(self) -> str:
        """What people call it: `orange dog with white stripes`, `plain cyan bus`."""
        if self.pattern_colour is None:
            return f"plain {self.coat} {self.thing}"
        return f"{self.coat} {self.thing} with {self.pattern_colour} {self.pattern}"

    @property
    def is_private(self) -> bool:
        """Whether it is kept for evaluation: nothing that reads identities may have been trained on it."""
        return hashlib.sha256(self.name.encode()).digest()[0] % _PRIVATE_IN == 0


@cache
def all_identities() -> tuple[Identity, ...]:
    """Every identity there is, private ones too, in a fixed order."""
    return tuple(
        Identity(thing.name, coat, pattern, colour) for thing in OBJECTS for coat, pattern, colour in _combinations()
    )


def random_identities(seed: int, count: int, *, private: bool = False) -> tuple[Identity, ...]:
    """`count` different identities, all private or all public; a ValueError when there are not as many."""
    pool = [identity for identity in all_identities() if identity.is_private == private]
    return tuple(random.Random(f"identities/{seed}").sample(pool, count))


def siblings(identity: Identity, *, trait: Trait | None = None) -> tuple[Identity, ...]:
    """Every identity that differs in exactly one trait (`trait` alone if given); going plain drops the colour too."""
    return tuple(
        other
        for other in _variants(identity)
        if (differing := differing_traits(identity, other)) and trait in (None, *differing)
    )


def differing_traits(one: Identity, other: Identity) -> tuple[Trait, ...]:
    """The traits in which two identities of one object differ; a plain one has no pattern colour to differ in."""
    if one.thing != other.thing:
        raise ValueError(f"a {one.thing} and a {other.thing} differ in more than traits")
    compared = TRAITS if one.pattern_colour and other.pattern_colour else TRAITS[:2]
    return tuple(trait for trait in compared if getattr(one, trait) != getattr(other, trait))


def _variants(identity: Identity) -> Iterator[Identity]:
    """One trait changed at a time, the identity itself among them; from plain a pattern comes in each clear colour."""
    own_colour = identity.pattern_colour
    for coat in COATS:
        if (coat, own_colour) not in _UNCLEAR:
            yield replace(identity, coat=coat)
    for _, pattern, colour in _combinations(identity.coat):
        if pattern == "plain" or own_colour in (None, colour):
            yield replace(identity, pattern=pattern, pattern_colour=colour)
        elif pattern == identity.pattern:
            yield replace(identity, pattern_colour=colour)


def _combinations(*coats: Coat) -> Iterator[tuple[Coat, Pattern, PatternColour | None]]:
    """Every clear combination of traits, of all coats or of those given."""
    for coat in coats or COATS:
        yield coat, "plain", None
        for pattern, colour in product(PATTERNS[1:], PATTERN_COLOURS):
            if (coat, colour) not in _UNCLEAR:
                yield coat, pattern, colour
