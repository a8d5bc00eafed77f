"""Owns the oracle: pictures in, every factor of each and an identity embedding out; refuses to judge what it read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from ..world import SHIPPED_STYLES, Scene
from .factors import FACTORS, VALUES, Factor, value_of
from .oracle_layers import SIDE_PX, FactorParser
from .shipped_weights import ORACLE, weights_folder
from .weight_files import read_weights

Embedding = npt.NDArray[np.float32]

_AT_ONCE: Final = 64


@dataclass(frozen=True, slots=True)
class Guess:
    """The likeliest value of a factor and its probability, 0 to 1."""

    value: str
    probability: float


@dataclass(frozen=True, slots=True)
class Reading:
    """What the oracle saw in one picture: a guess per factor, and the identity embedding (width,), of length 1.

    `identity @ other.identity` is how alike two objects are whatever their background, place, size, tilt and style.
    """

    guesses: Mapping[Factor, Guess]
    identity: Embedding

    def of(self, factor: Factor) -> Guess:
        """The guess of one factor."""
        return self.guesses[factor]

    def agrees(self, scene: Scene, *factors: Factor) -> bool:
        """Whether every one of `factors` is read as `scene` says."""
        return all(self.guesses[factor].value == value_of(scene, factor) for factor in factors)


class Oracle:
    """Reads pictures of the emoji world; the same picture gives the same reading whatever stands beside it."""

    def __init__(self, parser: FactorParser, *, styles: Sequence[str] = SHIPPED_STYLES) -> None:
        """Take over a trained parser; `styles` are the drawing styles that it may answer."""
        self._parser = parser.eval()
        self._is_answer = torch.tensor([style in styles for style in VALUES["style"]])

    def among(self, styles: Sequence[str]) -> Oracle:
        """The same oracle where pictures can be of these drawing styles alone.

        A base that has never seen a mosaic draws none; what it draws softly would else be called one now and then.
        """
        return Oracle(self._parser, styles=styles)

    def read(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """A reading per picture; pictures of another size are scaled to the 64 pixels the oracle knows."""
        readings: list[Reading] = []
        for start in range(0, len(pictures), _AT_ONCE):
            readings += self._read_batch(pictures[start : start + _AT_ONCE])
        return readings

    @torch.inference_mode()
    def _read_batch(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        parsed = self._parser(to_tensor(pictures))
        scores = {**parsed.scores, "style": parsed.scores["style"].masked_fill(~self._is_answer, float("-inf"))}
        chances = {factor: scores[factor].softmax(dim=1) for factor in FACTORS}
        embeddings = parsed.identity.numpy()
        return [
            Reading({factor: _guess(factor, chances[factor][row]) for factor in FACTORS}, embeddings[row])
            for row in range(len(pictures))
        ]


def open_oracle(path: Path | None = None) -> Oracle:
    """The oracle that ships in the package, or the one in a file; a DataError for a file that holds none."""
    parser = FactorParser()
    read_weights(path or weights_folder() / ORACLE, parser, what="the oracle")
    return Oracle(parser)


def to_tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """(count, 3, 64, 64) from -1 to 1."""
    arrays = [np.asarray(_sized(picture.convert("RGB"))) for picture in pictures]
    return torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2).float() / 127.5 - 1.0


def _sized(picture: Image.Image) -> Image.Image:
    return picture if picture.size == (SIDE_PX, SIDE_PX) else picture.resize((SIDE_PX, SIDE_PX), Image.Resampling.BOX)


def _guess(factor: Factor, chances: torch.Tensor) -> Guess:
    place = int(chances.argmax())
    return Guess(VALUES[factor][place], float(chances[place]))
