"""Owns the batches that train the denoiser, each a function of (seed, step); refuses networks."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..world import sample_caption
from .pictures import scene_of
from .recipe import Recipe

_SIGMA_CENTRE, _SIGMA_SPREAD = 0.3, 1.0


@dataclass(frozen=True, slots=True)
class Batch:
    """Clean latents, token ids (some of the empty text), which captions become zeros, time ids, timesteps, noise."""

    latents: npt.NDArray[np.float32]
    token_ids: npt.NDArray[np.int64]
    zeroed: npt.NDArray[np.bool_]
    time_ids: npt.NDArray[np.float32]
    timesteps: npt.NDArray[np.int64]
    noise: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Examples:
    """All latents (count, channels, height, width) and captions (count, variants, tokens), and the empty caption."""

    latents: npt.NDArray[np.float16]
    token_ids: npt.NDArray[np.int16]
    empty: npt.NDArray[np.int16]


def captions_of(recipe: Recipe, index: int) -> list[str]:
    """The caption variants of training picture `index`."""
    rng = random.Random(f"captions/{recipe.seed}/{index}")
    return [sample_caption(scene_of(recipe, index), rng) for _ in range(recipe.captions_per_picture)]


def batch_at(recipe: Recipe, examples: Examples, sigmas: npt.NDArray[np.float32], step: int) -> Batch:
    """The batch of `step`: pictures in an order shuffled each epoch, everything else drawn for this step."""
    rng = np.random.default_rng((recipe.seed, 2, step))
    chosen = _chosen(recipe, len(examples.latents), step)
    token_ids = examples.token_ids[chosen, rng.integers(0, examples.token_ids.shape[1], len(chosen))].astype(np.int64)
    dropped = rng.random(len(chosen))
    token_ids[dropped < recipe.unconditional_share / 2] = examples.empty
    zeroed = (dropped >= recipe.unconditional_share / 2) & (dropped < recipe.unconditional_share)
    latents = examples.latents[chosen].astype(np.float32)
    noise = rng.standard_normal(latents.shape, dtype=np.float32)
    return Batch(latents, token_ids, zeroed, _time_ids(recipe, rng), _timesteps(sigmas, len(chosen), rng), noise)


def _chosen(recipe: Recipe, count: int, step: int) -> npt.NDArray[np.int64]:
    steps_per_epoch = count // recipe.batch
    epoch, place = divmod(step, steps_per_epoch)
    order = np.random.default_rng((recipe.seed, 3, epoch)).permutation(count)
    return order[place * recipe.batch : (place + 1) * recipe.batch]


def _time_ids(recipe: Recipe, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """(batch, 6): the true sizes mostly, other original sizes and corners in 30 %, so that the ids matter little."""
    side = recipe.side_px
    ids = np.tile(np.array([side, side, 0, 0, side, side], dtype=np.float32), (recipe.batch, 1))
    varied = rng.random(recipe.batch) < 0.3
    ids[varied, :2] = rng.integers(side // 2, side * 8, (int(varied.sum()), 2))
    ids[varied, 2:4] = rng.integers(0, side // 4, (int(varied.sum()), 2))
    return ids


def _timesteps(sigmas: npt.NDArray[np.float32], count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """Half uniform, half crowded where signal and noise are of one size; `sigmas` is the schedule, ascending."""
    crowded = np.searchsorted(sigmas, np.exp(rng.normal(_SIGMA_CENTRE, _SIGMA_SPREAD, count)))
    uniform = rng.integers(0, len(sigmas), count)
    return np.where(rng.random(count) < 0.5, uniform, np.clip(crowded, 0, len(sigmas) - 1))
