"""Owns what scores are taken from: an examination, its pictures, the instance images; refuses to take any."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from lorasmith.evaluation.drawing import Pictures
from lorasmith.evaluation.examination import Examination, Role, Shot
from lorasmith.evaluation.intervals import Estimate, estimate


@dataclass(frozen=True)
class InstanceImages:
    """What was trained on, at the base's size, and what was kept apart; empty where nobody knows."""

    trained: Sequence[Image.Image] = ()
    captions: Sequence[str] = ()
    held_out: Sequence[Image.Image] = ()
    held_out_captions: Sequence[str] = ()


@dataclass(frozen=True)
class Losses:
    """The loss of each held-out picture with the concept, and with the base alone."""

    drawn: Sequence[float]
    base: Sequence[float]
    pictures: str
    """What they were measured on, in words."""

    @property
    def ratio(self) -> Estimate:
        """The concept's mean loss as a share of the base's."""
        rows = np.array([self.drawn, self.base], dtype=np.float64).T
        return estimate(
            rows, range(len(rows)), lambda resampled: float(resampled[:, 0].mean() / resampled[:, 1].mean())
        )


@dataclass(frozen=True)
class Material:
    """All there is on one export; `scale` is None for the base alone, which is then compared with itself."""

    examination: Examination
    pictures: Pictures
    scale: float | None
    instance: InstanceImages = field(default_factory=InstanceImages)
    losses: Losses | None = None

    def drawn(self, role: Role) -> list[tuple[Shot, Image.Image]]:
        """The pictures of one role, with the concept."""
        return self.pictures.of(role, self.scale)

    def base(self, role: Role) -> list[tuple[Shot, Image.Image]]:
        """The same prompts (said without the token) and seeds, by the base alone."""
        return self.pictures.of(role, None)


def pictures_of(shots: Sequence[tuple[Shot, Image.Image]]) -> list[Image.Image]:
    """The pictures alone."""
    return [picture for _, picture in shots]


def places_of(shots: Sequence[tuple[Shot, Image.Image]]) -> list[int]:
    """Which prompt of its role each picture is of."""
    return [shot.place for shot, _ in shots]
