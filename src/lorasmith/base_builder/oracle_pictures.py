"""Owns the pictures that the oracle learns from: scenes of every object and identity, most through the VAE.

Refuses private identities, which are kept for evaluation.
"""
# pyright: basic, reportPrivateImportUsage=false, reportCallIssue=false, reportAttributeAccessIssue=false

from __future__ import annotations

import json
import logging
import random
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import AutoencoderKL

from ..evaluation.factors import VALUES
from ..evaluation.oracle_examination import any_scene
from ..world import Identity, Scene, all_identities, render, shipped_sprites
from .export import trained_autoencoder
from .recipe import Recipe, Workshop

logger = logging.getLogger(__name__)

_DECODED_AT_ONCE = 32


@dataclass(frozen=True, slots=True)
class LabelledPictures:
    """Pictures, uint8 (count, side, side, 3), and what each shows."""

    pictures: npt.NDArray[np.uint8]
    scenes: list[Scene]


@cache
def public_identities() -> tuple[Identity, ...]:
    """Every identity that may be learnt from, shuffled once."""
    identities = [identity for identity in all_identities() if not identity.is_private]
    random.Random("oracle/identities").shuffle(identities)
    return tuple(identities)


def oracle_scene(recipe: Recipe, index: int) -> Scene:
    """Scene `index` of the oracle's pictures: by turns an object as its art shows it, and a view of an identity."""
    number, wears_coat = divmod(index, 2)
    rng = random.Random(f"oracle/{recipe.seed}/{index}")
    if wears_coat:
        identity = public_identities()[number // recipe.oracle_views % len(public_identities())]
        return any_scene(rng, identity.thing, identity=identity)
    things = VALUES["thing"]
    return any_scene(rng, things[number % len(things)])


def compose_for_oracle(recipe: Recipe, workshop: Workshop) -> None:
    """Write the pictures in shards; a shard that lies there is not written again."""
    autoencoder = trained_autoencoder(recipe, workshop).to(memory_format=torch.channels_last)
    workshop.oracle_shards.mkdir(parents=True, exist_ok=True)
    for shard in range(recipe.oracle_shards):
        path = workshop.oracle_shards / f"{shard:03}.npy"
        if path.exists():
            continue
        start = shard * recipe.oracle_shard_pictures
        scenes = [oracle_scene(recipe, start + place) for place in range(recipe.oracle_shard_pictures)]
        path.with_suffix(".json").write_text(json.dumps([asdict(scene) for scene in scenes]), encoding="utf-8")
        beside = path.with_suffix(".part")
        with beside.open("wb") as file:
            np.save(file, _composed(recipe, autoencoder, scenes, seed=shard))
        beside.replace(path)
        logger.info("pictures for the oracle: %s", path.name)


def load_oracle_pictures(workshop: Workshop) -> LabelledPictures:
    """Every picture in the shards that are there, with its scene."""
    paths = sorted(workshop.oracle_shards.glob("*.npy"))
    pictures = np.concatenate([np.load(path) for path in paths])
    told = [told for path in paths for told in json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))]
    return LabelledPictures(pictures, [_scene(one) for one in told])


def _scene(told: dict[str, Any]) -> Scene:
    identity = told["identity"]
    return Scene(**{**told, "identity": None if identity is None else Identity(**identity)})


def _composed(recipe: Recipe, autoencoder: AutoencoderKL, scenes: list[Scene], *, seed: int) -> npt.NDArray[np.uint8]:
    sprites = shipped_sprites()
    pictures = np.stack([np.asarray(render(scene, sprites)) for scene in scenes])
    rng = np.random.default_rng((recipe.seed, 5, seed))
    through = np.flatnonzero(rng.random(len(pictures)) < recipe.oracle_decoded_share)
    for first in range(0, len(through), _DECODED_AT_ONCE):
        chosen = through[first : first + _DECODED_AT_ONCE]
        pictures[chosen] = through_autoencoder(recipe, autoencoder, pictures[chosen], rng)
    return pictures


@torch.inference_mode()
def through_autoencoder(
    recipe: Recipe, autoencoder: AutoencoderKL, pictures: npt.NDArray[np.uint8], rng: np.random.Generator | None
) -> npt.NDArray[np.uint8]:
    """Pictures (count, side, side, 3) encoded and decoded; with `rng`, noise of up to `oracle_latent_noise` between."""
    pixels = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 127.5 - 1.0
    with torch.autocast("cpu", torch.bfloat16):
        latents = autoencoder.encode(pixels.to(memory_format=torch.channels_last)).latent_dist.mode().float()
        if rng is not None:
            spread = rng.random((len(latents), 1, 1, 1), dtype=np.float32) * recipe.oracle_latent_noise
            noise = rng.standard_normal(tuple(latents.shape), dtype=np.float32) * spread / recipe.scaling_factor
            latents = latents + torch.from_numpy(noise)
        drawn = autoencoder.decode(latents).sample.float()
    return ((drawn.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
