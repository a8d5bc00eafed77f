"""Owns the shipping of oracle and small CLIP, fp16 weights with a card of what they reach; trains neither."""
# pyright: basic, reportPrivateImportUsage=false

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from diffusers import AutoencoderKL
from PIL import Image

from ..evaluation.oracle import Oracle, Reading, open_oracle
from ..evaluation.oracle_examination import Marks, draw_scenes, examine_retrieval, fresh_scenes, mark
from ..evaluation.shipped_weights import ORACLE, TINY_CLIP
from ..evaluation.tiny_clip import open_tiny_clip
from ..evaluation.tiny_clip_examination import examine_tiny_clip
from ..evaluation.weight_files import write_weights
from .export import trained_autoencoder
from .oracle_fitting import load_parser
from .oracle_pictures import through_autoencoder
from .recipe import Recipe, Workshop
from .tiny_clip_fitting import load_towers

logger = logging.getLogger(__name__)

_FRESH_SEED = 4
_PICTURES_PER_QUERY = 40  # a query has a gallery of some sixty pictures


def ship_oracle(recipe: Recipe, workshop: Workshop, folder: Path, *, count: int = 4_000) -> Path:
    """Write the oracle of the latest state below `folder`, measured on `count` fresh renders."""
    parser, step = load_parser(workshop)
    path = folder / ORACLE
    size = write_weights(path, parser)
    oracle = open_oracle(path)
    measured = measure_oracle(recipe, trained_autoencoder(recipe, workshop), oracle, count=count)
    samples = 2 * recipe.oracle_plain_pairs + recipe.oracle_families * 12
    trained_on = {
        "pictures": recipe.oracle_shards * recipe.oracle_shard_pictures,
        "of": "85 objects in 4 styles, and public identities (private ones were kept out), true renders",
        "share_through_autoencoder": recipe.oracle_decoded_share,
        "steps": step,
        "samples": step * samples,
    }
    _write_card(path, {"trained_on": trained_on, "measured": measured, "bytes": size})
    return path


def measure_oracle(recipe: Recipe, autoencoder: AutoencoderKL, oracle: Oracle, *, count: int) -> dict[str, Any]:
    """Shares read right, as renders and through the autoencoder, and identities found among their siblings."""
    scenes, queries = fresh_scenes(count, seed=_FRESH_SEED), max(1, count // _PICTURES_PER_QUERY)
    pictures = draw_scenes(scenes)

    def through(drawn: Sequence[Image.Image]) -> list[Image.Image]:
        array = through_autoencoder(recipe, autoencoder, np.stack([np.asarray(one) for one in drawn]), None)
        return [Image.fromarray(one) for one in array]

    decoded = [one for start in range(0, count, 32) for one in through(pictures[start : start + 32])]
    halves = {"objects": slice(0, count // 2), "private_identities": slice(count // 2, count)}

    def told(read: Sequence[Reading]) -> dict[str, Any]:
        return {name: _told(mark(read[half], scenes[half])) for name, half in halves.items()}

    after = oracle.read(decoded)
    _log(mark(after, scenes))
    return {
        "on": f"{count} fresh scenes, half of every object, half of private identities; jitters and backgrounds unseen",
        "true_renders": told(oracle.read(pictures)),
        "through_autoencoder": told(after),
        "identity_among_siblings": asdict(examine_retrieval(oracle, queries, seed=_FRESH_SEED)),
        "identity_among_siblings_through_autoencoder": asdict(
            examine_retrieval(oracle, queries, seed=_FRESH_SEED, through=through)
        ),
    }


def ship_tiny_clip(recipe: Recipe, workshop: Workshop, folder: Path, *, count: int = 1_000) -> Path:
    """Write the small CLIP of the latest state below `folder`, measured on `count` fresh pictures and captions."""
    towers, step = load_towers(workshop)
    path = folder / TINY_CLIP
    size = write_weights(path, towers)
    measured = asdict(examine_tiny_clip(open_tiny_clip(path), count, seed=_FRESH_SEED))
    _write_card(
        path, {"trained_on": {"steps": step, "batch": recipe.tiny_clip_batch}, "measured": measured, "bytes": size}
    )
    logger.info("small CLIP: %s", measured)
    return path


def _told(marks: Marks) -> dict[str, Any]:
    return {
        "shares": {factor: round(share, 4) for factor, share in marks.shares.items()},
        "all_factors": round(marks.all_factors, 4),
        "worst": marks.worst,
        "its_confusions": [asdict(confusion) for confusion in marks.confusions[marks.worst]],
    }


def _log(marks: Marks) -> None:
    for factor, share in marks.shares.items():
        confused = ", ".join(f"{one.true} as {one.read} {one.count}x" for one in marks.confusions[factor])
        logger.info("%-15s %.2f %%  %s", factor, 100 * share, confused)
    logger.info("%-15s %.2f %% of %d", "all factors", 100 * marks.all_factors, marks.pictures)


def _write_card(weights: Path, content: dict[str, Any]) -> None:
    weights.with_suffix(".json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
