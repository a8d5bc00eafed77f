"""The oracle's build: pictures with their scenes, none of a private identity; sittings that go on; weights shipped."""
# pyright: basic, reportPrivateImportUsage=false

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from lorasmith.base_builder.autoencoder import build_autoencoder, train_decoder
from lorasmith.base_builder.oracle_batches import OraclePictures
from lorasmith.base_builder.oracle_export import ship_oracle, ship_tiny_clip
from lorasmith.base_builder.oracle_fitting import fit_oracle, identity_loss, load_parser
from lorasmith.base_builder.oracle_pictures import (
    compose_for_oracle,
    load_oracle_pictures,
    oracle_scene,
    through_autoencoder,
)
from lorasmith.base_builder.patch_basis import fit_patch_basis
from lorasmith.base_builder.recipe import Recipe, Workshop
from lorasmith.base_builder.sitting import Sitting
from lorasmith.base_builder.tiny_clip_fitting import fit_tiny_clip, load_towers
from lorasmith.evaluation import FACTORS, open_oracle, open_tiny_clip, value_of
from lorasmith.evaluation.factors import VALUES
from lorasmith.evaluation.oracle_layers import boxes_of
from lorasmith.world import render, shipped_sprites

RECIPE = Recipe(
    oracle_shards=2,
    oracle_shard_pictures=120,
    oracle_views=4,
    oracle_families=2,
    oracle_plain_pairs=4,
    tiny_clip_batch=16,
)


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """An autoencoder that has hardly learnt, and two shards of pictures."""
    workshop = Workshop(tmp_path_factory.mktemp("workshop"))
    pictures = np.stack([np.asarray(render(oracle_scene(RECIPE, index), shipped_sprites())) for index in range(12)])
    np.save(workshop.pictures, pictures)
    fit_patch_basis(RECIPE, pictures).save(workshop.encoder)
    train_decoder(RECIPE, workshop, Sitting(0.2), device="cpu")
    compose_for_oracle(RECIPE, workshop)
    return workshop


def test_every_picture_comes_with_its_scene(workshop: Workshop) -> None:
    labelled = load_oracle_pictures(workshop)
    assert labelled.scenes == [oracle_scene(RECIPE, index) for index in range(240)]
    plain = Recipe(**{**vars_of(RECIPE), "oracle_decoded_share": 0.0})
    untouched = np.stack([np.asarray(render(scene, shipped_sprites())) for scene in labelled.scenes])
    changed = (labelled.pictures != untouched).any(axis=(1, 2, 3)).mean()
    assert plain.oracle_decoded_share < changed == pytest.approx(RECIPE.oracle_decoded_share, abs=0.1)


def vars_of(recipe: Recipe) -> dict[str, object]:
    """Its fields; it has slots."""
    return {name: getattr(recipe, name) for name in recipe.__dataclass_fields__}


def test_shards_that_are_there_are_kept(workshop: Workshop) -> None:
    times = {path: path.stat().st_mtime_ns for path in workshop.oracle_shards.iterdir()}
    compose_for_oracle(RECIPE, workshop)
    assert {path: path.stat().st_mtime_ns for path in workshop.oracle_shards.iterdir()} == times


def test_no_private_identity_is_learnt_from() -> None:
    identities = {scene.identity for index in range(4_000) if (scene := oracle_scene(Recipe(), index)).identity}
    assert len(identities) > 300
    assert not any(identity.is_private for identity in identities)


def test_every_value_of_every_factor_is_learnt_from() -> None:
    scenes = [oracle_scene(Recipe(), index) for index in range(2_000)]
    for factor in FACTORS:
        assert {value_of(scene, factor) for scene in scenes} == set(VALUES[factor])


def test_a_batch_depends_on_its_step_alone_and_shows_siblings(workshop: Workshop) -> None:
    pictures = OraclePictures(RECIPE, load_oracle_pictures(workshop))
    once, again, other = pictures.batch_at(3), pictures.batch_at(3), pictures.batch_at(4)
    assert torch.equal(once.pictures, again.pictures)
    assert once.pictures.shape[1:] == (3, 64, 64)
    assert not torch.equal(once.pictures[:4], other.pictures[:4])
    assert once.pictures.abs().max() <= 1
    assert len(once.shown.unique()) < len(once.shown)


def test_boxes_lie_around_what_is_shown(workshop: Workshop) -> None:
    pictures = OraclePictures(RECIPE, load_oracle_pictures(workshop))
    batch = pictures.batch_at(1)
    told = boxes_of(batch.labels["size"], batch.labels["place"])
    assert batch.boxes.shape == (len(batch.pictures), 3)
    assert 0 < (batch.boxes - told).abs().max() < 0.08


def test_the_identity_loss_is_least_where_alike_lie_together() -> None:
    shown = torch.tensor([0, 0, 1, 1])
    apart = torch.eye(2)[[0, 0, 1, 1]]
    mixed = torch.eye(2)[[0, 1, 0, 1]]
    assert identity_loss(apart, shown) < identity_loss(mixed, shown)


def test_a_sitting_goes_on_from_the_last_and_its_oracle_is_shipped(workshop: Workshop, tmp_path: Path) -> None:
    fit_oracle(RECIPE, workshop, Sitting(0.3))
    _, before = load_parser(workshop)
    fit_oracle(RECIPE, workshop, Sitting(0.3))
    parser, after = load_parser(workshop)
    assert 0 < before < after
    path = ship_oracle(RECIPE, workshop, tmp_path, count=20)
    assert open_oracle(path) is not None
    card = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    assert card["trained_on"]["steps"] == after
    read = card["measured"]["through_autoencoder"]
    assert set(read["objects"]["shares"]) == set(read["private_identities"]["shares"]) == set(FACTORS)
    del parser


def test_the_small_clip_learns_and_is_shipped(workshop: Workshop, tmp_path: Path) -> None:
    fit_tiny_clip(RECIPE, workshop, Sitting(0.3))
    fit_tiny_clip(RECIPE, workshop, Sitting(0.3))
    _, steps = load_towers(workshop)
    path = ship_tiny_clip(RECIPE, workshop, tmp_path, count=20)
    assert open_tiny_clip(path).texts(["a dog"]).shape == (1, 64)
    assert json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["trained_on"]["steps"] == steps > 1


def test_pictures_go_through_the_autoencoder_with_noise_only_where_it_is_asked_for(workshop: Workshop) -> None:
    pictures = load_oracle_pictures(workshop).pictures[:2]
    basis = fit_patch_basis(RECIPE, pictures)
    autoencoder = build_autoencoder(RECIPE, basis).eval()
    once, again = (through_autoencoder(RECIPE, autoencoder, pictures, None) for _ in range(2))
    assert once.shape == pictures.shape
    assert once.dtype == np.uint8
    assert (once == again).all()
    del basis
