"""Owns the batches that train the oracle, each a function of (seed, step): families of siblings and plain pairs."""
# pyright: basic

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..evaluation.factors import FACTORS, VALUES, Factor, value_of
from ..evaluation.oracle_layers import boxes_of
from ..world import Scene, siblings
from .oracle_pictures import LabelledPictures
from .recipe import Recipe

_SIBLINGS = 3
_VIEWS = 3


@dataclass(frozen=True, slots=True)
class OracleBatch:
    """Pictures (batch, 3, side, side) from -1 to 1, labels per factor (batch,), boxes around the objects (batch, 3).

    `shown` (batch,) numbers what each shows: pictures of one object in one dress have one number.
    """

    pictures: Tensor
    labels: dict[Factor, Tensor]
    boxes: Tensor
    shown: Tensor

    def to(self, device: str) -> OracleBatch:
        """The same on another device."""
        labels: dict[Factor, Tensor] = {factor: value.to(device) for factor, value in self.labels.items()}
        return OracleBatch(self.pictures.to(device), labels, self.boxes.to(device), self.shown.to(device))


class OraclePictures:
    """The pictures at hand, their labels, and which of them show the same object or its siblings."""

    def __init__(self, recipe: Recipe, labelled: LabelledPictures) -> None:
        """Label every picture by its scene."""
        self._recipe = recipe
        self._pictures = labelled.pictures
        scenes = labelled.scenes
        self._labels = {
            factor: np.array([VALUES[factor].index(value_of(scene, factor)) for scene in scenes]) for factor in FACTORS
        }
        names = [_shown(scene) for scene in scenes]
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        self._shown = np.array([numbers[name] for name in names])
        self._views: dict[int, list[int]] = defaultdict(list)
        for index, number in enumerate(self._shown):
            self._views[int(number)].append(index)
        self._plain = sorted({numbers[_shown(scene)] for scene in scenes if scene.identity is None})
        identities = {scene.identity for scene in scenes if scene.identity is not None}
        self._families = {
            numbers[identity.name]: [numbers[other.name] for other in siblings(identity) if other in identities]
            for identity in sorted(identities, key=lambda identity: identity.name)
        }

    def batch_at(self, step: int) -> OracleBatch:
        """The batch of `step`, its pictures varied a little."""
        rng = np.random.default_rng((self._recipe.seed, 6, step))
        chosen = np.array([*self._chosen_families(rng), *self._chosen_plain(rng)])
        pixels = torch.from_numpy(self._pictures[chosen]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        labels: dict[Factor, Tensor] = {factor: torch.from_numpy(self._labels[factor][chosen]) for factor in FACTORS}
        boxes = _shaken(boxes_of(labels["size"], labels["place"]), rng)
        return OracleBatch(varied(pixels, rng), labels, boxes, torch.from_numpy(self._shown[chosen]))

    def _chosen_families(self, rng: np.random.Generator) -> list[int]:
        """Identities, each with siblings that differ in one trait, a few views of each."""
        anchors = rng.choice(list(self._families), self._recipe.oracle_families, replace=False)
        chosen: list[int] = []
        for anchor in anchors:
            others = self._families[int(anchor)]
            family = [int(anchor), *rng.permutation(others)[:_SIBLINGS]]
            chosen += [index for member in family for index in self._some_views(int(member), _VIEWS, rng)]
        return chosen

    def _chosen_plain(self, rng: np.random.Generator) -> list[int]:
        things = rng.choice(self._plain, self._recipe.oracle_plain_pairs, replace=False)
        return [index for thing in things for index in self._some_views(int(thing), 2, rng)]

    def _some_views(self, number: int, count: int, rng: np.random.Generator) -> list[int]:
        return list(rng.permutation(self._views[number])[:count])


def _shaken(boxes: Tensor, rng: np.random.Generator) -> Tensor:
    """Boxes a few per cent too large or too small, and a little beside the object."""
    scale = torch.from_numpy(rng.uniform(0.95, 1.05, (len(boxes), 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.03, 0.03, (len(boxes), 2))).float()
    return torch.cat((boxes[:, :1] * scale, boxes[:, 1:] + shift * boxes[:, :1]), dim=1)


def _shown(scene: Scene) -> str:
    return scene.thing if scene.identity is None else scene.identity.name


def varied(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Moved by a pixel, blurred now and then, colours shifted slightly, noise added."""
    count = len(pixels)
    pixels = _blurred(pixels, rng)
    down, across = (int(shift) for shift in rng.integers(0, 3, 2))
    side = pixels.shape[-1]
    pixels = functional.pad(pixels, (1, 1, 1, 1), mode="replicate")[..., down : down + side, across : across + side]
    gain = torch.from_numpy(rng.uniform(0.94, 1.06, (count, 1, 1, 1))).float()
    shift = torch.from_numpy(rng.uniform(-0.04, 0.04, (count, 3, 1, 1))).float()
    noise = torch.from_numpy(rng.standard_normal(tuple(pixels.shape), dtype=np.float32))
    spread = torch.from_numpy(rng.uniform(0, 0.06, (count, 1, 1, 1))).float()
    return (pixels * gain + shift + noise * spread).clamp(-1, 1)


def _blurred(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """Half of them a little or much: a base draws softly, and what is soft is not yet a mosaic."""
    for window, share in ((3, 0.5), (5, 0.2)):
        margin = window // 2
        smooth = functional.avg_pool2d(functional.pad(pixels, (margin,) * 4, mode="replicate"), window, stride=1)
        amounts = np.where(rng.random(len(pixels)) < share, rng.random(len(pixels)), 0.0)
        pixels = torch.lerp(pixels, smooth, torch.from_numpy(amounts).float().view(-1, 1, 1, 1))
    return pixels
