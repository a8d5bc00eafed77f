"""Owns the examination of the oracle: how often it reads what scenes say; refuses to make it read better."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from ..world import (
    BACKGROUNDS,
    PLACES,
    SHIPPED_STYLES,
    SIZES,
    TILTS,
    Identity,
    Scene,
    random_identities,
    render,
    shipped_sprites,
    siblings,
)
from .factors import FACTORS, VALUES, Factor, value_of
from .oracle import Embedding, Oracle, Reading

Pictures = Sequence[Image.Image]
Pass = Callable[[Pictures], Pictures]
"""What pictures go through before they are read: an autoencoder, for one."""

_GALLERY_VIEWS: Final = 4


@dataclass(frozen=True, slots=True)
class Confusion:
    """A value read as another, and how often."""

    true: str
    read: str
    count: int


@dataclass(frozen=True, slots=True)
class Marks:
    """Of `pictures`, the share in which each factor, and all of them together, were read as the scene says."""

    pictures: int
    shares: Mapping[Factor, float]
    all_factors: float
    confusions: Mapping[Factor, tuple[Confusion, ...]]

    @property
    def worst(self) -> Factor:
        """The factor read worst."""
        return min(self.shares, key=lambda factor: self.shares[factor])


@dataclass(frozen=True, slots=True)
class RetrievalMarks:
    """Of `queries`, the share whose nearest gallery object is the right one; galleries hold `candidates` on average."""

    queries: int
    candidates: float
    right: float


def mark(readings: Sequence[Reading], scenes: Sequence[Scene], factors: Sequence[Factor] = FACTORS) -> Marks:
    """Compare readings with what the scenes say of `factors`; a ValueError when there are none."""
    if not readings:
        raise ValueError("no readings to mark")
    right = np.array(
        [[reading.agrees(scene, factor) for factor in factors] for reading, scene in _both(readings, scenes)]
    )
    shares: dict[Factor, float] = {
        factor: float(share) for factor, share in zip(factors, right.mean(axis=0), strict=True)
    }
    confusions: dict[Factor, tuple[Confusion, ...]] = {
        factor: _confusions(readings, scenes, factor) for factor in factors
    }
    return Marks(len(readings), shares, float(right.all(axis=1).mean()), confusions)


def fresh_scenes(count: int, *, seed: int) -> list[Scene]:
    """Scenes of every object by turns as its art shows it, and of private identities, all else drawn at random."""
    identities = random_identities(seed, count // 2, private=True)
    things = VALUES["thing"]
    rng = random.Random(f"fresh scenes/{seed}")
    plain = [any_scene(rng, things[place % len(things)]) for place in range(count - len(identities))]
    return plain + [any_scene(rng, identity.thing, identity=identity) for identity in identities]


def any_scene(rng: random.Random, thing: str, *, identity: Identity | None = None) -> Scene:
    """A scene of `thing`, every other factor drawn at random, rare ones more often than in the base's pictures."""
    size = rng.choices(SIZES, (36, 42, 22))[0]
    return Scene(
        thing=thing,
        style=rng.choice(SHIPPED_STYLES),
        background=rng.choice(BACKGROUNDS),
        size=size,
        place=rng.choice(PLACES) if size == "small" else "middle",
        tilt=rng.choices(TILTS, (60, 20, 20))[0],
        jitter=rng.getrandbits(32),
        identity=identity,
    )


def draw_scenes(scenes: Sequence[Scene]) -> list[Image.Image]:
    """Their true renders."""
    return [render(scene, shipped_sprites()) for scene in scenes]


def examine_retrieval(oracle: Oracle, count: int, *, seed: int, through: Pass = tuple) -> RetrievalMarks:
    """How often a private identity, drawn in any scene, is found among its siblings and the object as it is.

    The gallery holds the mean embedding of a few true renders of each, in other scenes than the query's.
    """
    rng = random.Random(f"retrieval/{seed}")
    right: list[bool] = []
    candidates: list[int] = []
    for identity in random_identities(seed, count, private=True):
        known = [identity, *siblings(identity), None]
        gallery = np.stack([_gallery_entry(oracle, rng, identity.thing, member) for member in known])
        [query] = oracle.read(through(draw_scenes([any_scene(rng, identity.thing, identity=identity)])))
        right.append(int((gallery @ query.identity).argmax()) == 0)
        candidates.append(len(known))
    return RetrievalMarks(count, float(np.mean(candidates)), float(np.mean(right)))


def _gallery_entry(oracle: Oracle, rng: random.Random, thing: str, identity: Identity | None) -> Embedding:
    scenes = [any_scene(rng, thing, identity=identity) for _ in range(_GALLERY_VIEWS)]
    mean = np.mean([reading.identity for reading in oracle.read(draw_scenes(scenes))], axis=0)
    return mean / np.linalg.norm(mean)


def _confusions(readings: Sequence[Reading], scenes: Sequence[Scene], factor: Factor) -> tuple[Confusion, ...]:
    pairs = ((value_of(scene, factor), reading.of(factor).value) for reading, scene in _both(readings, scenes))
    counted = Counter(pair for pair in pairs if pair[0] != pair[1])
    return tuple(Confusion(true, read, count) for (true, read), count in counted.most_common(5))


def _both(readings: Sequence[Reading], scenes: Sequence[Scene]) -> Iterator[tuple[Reading, Scene]]:
    return zip(readings, scenes, strict=True)
