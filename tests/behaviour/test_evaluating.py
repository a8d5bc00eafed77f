"""`lorasmith evaluate` from end to end: on a tiny base, and on the embedded one with a stand-in for the oracle."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorasmith.cli.app import main
from lorasmith.config.base import ModelConfig
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.evaluation.examination import Amounts
from lorasmith.evaluation.factors import FACTORS, VALUES, value_of
from lorasmith.evaluation.features import pixel_features
from lorasmith.evaluation.measures_of_variety import distances
from lorasmith.evaluation.oracle import Guess, Reading
from lorasmith.runs.evaluate import EvaluationSettings, OpenedBase, evaluate_run, evaluate_untrained, open_base
from lorasmith.runs.examinee import find_source
from lorasmith.runs.train import train
from lorasmith.testing import pictures
from lorasmith.world import Scene, find_concept, render, shipped_sprites, training_set, write_training_set
from lorasmith.world.recorded_concepts import record_concept

FEW = Amounts(1, 3, 2, 1, 2, 1, 2)
RUN_SCORES = {
    "embedding_drift", "copied_share", "variety", "pairwise_distance", "held_out_loss", "copy_gap",
}  # fmt: skip


class NearestRender:
    """Reads a picture as the nearest of a few renders; enough to see that words and pictures find together."""

    def __init__(self) -> None:
        self._scenes = [
            Scene(thing, background=background)
            for thing in ("dog", "teddy bear", "apple", "house")
            for background in VALUES["background"]
        ]
        self._rows = pixel_features([render(scene, shipped_sprites()) for scene in self._scenes])

    def read(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        nearest = distances(pixel_features(pictures), self._rows).argmin(axis=1)
        return [self._reading(self._scenes[int(place)]) for place in nearest]

    @staticmethod
    def _reading(scene: Scene) -> Reading:
        identity = np.eye(64, dtype=np.float32)[VALUES["thing"].index(scene.thing) % 64]
        return Reading({factor: Guess(value_of(scene, factor), 1.0) for factor in FACTORS}, identity)


@pytest.fixture(scope="module")
def finished(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on the tiny base, two pictures held out."""
    folder = tmp_path_factory.mktemp("finished")
    pictures(folder / "pictures", 4)
    said = {
        "model": {"base": str(tiny_base)},
        "data": {
            "instance_images": folder / "pictures",
            "instance_prompt": "a photo of TOK",
            "cache_folder": folder / "latents",
        },
        "adapter": {"rank": 2},
        "schedule": {"steps": 2, "batch_size": 1},
        "validation": {"held_out": 2},
        "output": {"folder": folder / "run"},
    }
    train(TrainConfig.model_validate(said))
    return folder / "run"


@pytest.fixture(scope="module")
def embedded_base() -> OpenedBase:
    return open_base(ModelConfig(base="embedded"))


@pytest.fixture
def teddy(tmp_path: Path) -> Path:
    """Pictures of a teddy bear, with the note of what they show."""
    concept = find_concept("teddy-bear")
    write_training_set(training_set(concept, count=3), tmp_path / "teddy")
    record_concept(tmp_path / "teddy", concept)
    return tmp_path / "teddy"


@pytest.fixture
def settings(tmp_path: Path) -> EvaluationSettings:
    return EvaluationSettings(
        amounts=FEW, steps=2, scales=(0.5,), cache_folder=tmp_path / "pictures", clip="none", dino="none"
    )


def test_on_any_base_it_measures_what_needs_no_weights(finished: Path, settings: EvaluationSettings) -> None:
    found = evaluate_run(finished, settings)
    assert {score.name for score in found.scores} == RUN_SCORES
    assert found.read_by == "in the VAE's latents"
    assert found.concept is None
    assert found.value("held_out_loss") == pytest.approx(1, abs=0.2)
    assert len(found.rows) == 8
    assert all(len(row.base) == len(row.drawn) == 1 for row in found.rows)
    assert [point.scale for point in found.curve] == [0.5]


def test_measuring_again_draws_nothing_and_finds_the_same(finished: Path, settings: EvaluationSettings) -> None:
    first, second = evaluate_run(finished, settings), evaluate_run(finished, settings)
    assert first.drawn > 0
    assert second.drawn == 0
    assert second.kept == first.drawn + first.kept
    assert second.scores == first.scores


def test_another_seed_draws_other_pictures(finished: Path, settings: EvaluationSettings, tmp_path: Path) -> None:
    evaluate_run(finished, settings)
    other = EvaluationSettings(
        amounts=FEW, steps=2, scales=(), seed=1, cache_folder=tmp_path / "pictures", clip="none", dino="none"
    )
    assert evaluate_run(finished, other).kept == 0


def test_the_base_is_lent_and_not_spoilt(finished: Path, settings: EvaluationSettings) -> None:
    base = open_base(find_source(finished).model)
    uncached = EvaluationSettings(amounts=FEW, steps=2, scales=(), cache=False, clip="none", dino="none")
    first, second = (evaluate_run(finished, uncached, base=base) for _ in range(2))
    assert first.scores == second.scores
    assert second.scores == evaluate_run(finished, uncached).scores


def test_instance_images_that_are_gone_are_said_and_the_rest_is_measured(
    finished: Path, settings: EvaluationSettings
) -> None:
    folder = finished.with_name("pictures")
    folder.rename(folder.with_name("elsewhere"))
    try:
        found = evaluate_run(finished, settings)
    finally:
        folder.with_name("elsewhere").rename(folder)
    assert "there are no instance images" in found.notes[0]
    assert found.find("copied_share") is None
    assert found.find("embedding_drift") is not None


def test_a_lora_file_of_another_program_needs_its_base(
    finished: Path, settings: EvaluationSettings, tmp_path: Path, tiny_base: Path
) -> None:
    alone = tmp_path / "alone" / "lora.safetensors"
    alone.parent.mkdir()
    alone.write_bytes((finished / "export" / "pytorch_lora_weights.safetensors").read_bytes())
    with pytest.raises(ConfigError, match="does not say which base"):
        evaluate_run(alone, settings)
    found = evaluate_run(alone, settings, base=open_base(ModelConfig(base=str(tiny_base))))
    assert found.find("embedding_drift") is not None
    assert found.base == tiny_base.name


def test_a_file_of_an_export_stands_for_the_export(finished: Path) -> None:
    assert find_source(finished / "export" / "pytorch_lora_weights.safetensors") == find_source(finished / "export")
    with pytest.raises(DataError):
        find_source(finished / "plan.json")


def test_a_known_concept_gets_every_score(
    embedded_base: OpenedBase, teddy: Path, settings: EvaluationSettings, tmp_path: Path
) -> None:
    config = TrainConfig.model_validate(
        {
            "model": {"base": "embedded"},
            "data": {"instance_images": teddy, "cache_folder": tmp_path / "latents"},
            "adapter": {"rank": 2},
            "schedule": {"steps": 2, "batch_size": 1},
            "output": {"folder": tmp_path / "run"},
        }
    )
    train(config)
    found = evaluate_run(tmp_path / "run", settings, base=embedded_base, reader=NearestRender())
    assert found.concept == "teddy bear"
    assert {score.name for score in found.scores} == {
        "joint", "fidelity", "prompt_following", "product", "harmonic_mean", "mean_average_precision", "leakage",
        "class_word_identity", "class_word_drift", "unrelated_drift", "unrelated_kept", "embedding_drift",
        "copied_share", "copy_gap", "variety", "pairwise_distance", "entropy_change", "held_out_loss",
    }  # fmt: skip
    assert all(row.truth is not None for row in found.rows)
    assert [name for name, _ in found.factors][:2] == ["style", "background"]
    (point,) = found.curve
    assert point.joint is not None
    assert point.class_word_identity is not None


def test_the_base_alone_has_not_drifted_from_itself(
    embedded_base: OpenedBase, teddy: Path, settings: EvaluationSettings
) -> None:
    told = EvaluationSettings(
        amounts=FEW, steps=2, scales=(), instance_images=teddy, cache_folder=settings.cache_folder
    )
    found = evaluate_untrained(told, base=embedded_base, reader=NearestRender())
    assert found.concept == "teddy bear"
    for name in ("class_word_drift", "unrelated_drift", "embedding_drift", "leakage", "entropy_change"):
        assert found.value(name) == pytest.approx(0)
    assert found.value("held_out_loss") == 1
    assert found.score("joint").estimate.value == found.score("joint").base
    assert found.curve == []


def test_the_small_clip_that_ships_stands_beside_the_truth(
    embedded_base: OpenedBase, teddy: Path, settings: EvaluationSettings
) -> None:
    few = replace(FEW, unrelated=1, captions=1)
    told = EvaluationSettings(
        amounts=few, steps=1, scales=(), instance_images=teddy, cache_folder=settings.cache_folder
    )
    found = evaluate_untrained(told, base=embedded_base)
    assert {"joint", "text_similarity", "instance_similarity"} <= {score.name for score in found.scores}
    assert -1 <= found.value("instance_similarity") <= 1
    assert "small CLIP" in found.score("text_similarity").measured_on


def test_own_pictures_on_the_embedded_base_are_measured_without_a_truth(
    embedded_base: OpenedBase, teddy: Path, settings: EvaluationSettings
) -> None:
    (teddy / ".concept.json").unlink()
    told = EvaluationSettings(
        amounts=FEW, steps=2, scales=(), instance_images=teddy, cache_folder=settings.cache_folder
    )
    found = evaluate_untrained(told, base=embedded_base, reader=NearestRender())
    names = {score.name for score in found.scores}
    assert found.concept is None
    assert names >= {"prompt_following", "leakage", "instance_similarity", "copied_share", "class_word_drift"}
    assert names.isdisjoint({"joint", "fidelity", "mean_average_precision", "copy_gap"})
    assert all(row.truth is None for row in found.rows)


def test_the_command_writes_a_report_into_the_run_and_json_to_stdout(
    finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    words = ["--quick", "--steps", "1", "--clip", "none", "--dino", "none"]
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(finished), str(finished), *words, "--json", "--out", str(tmp_path / "two.html")])
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    record = json.loads(said.out)
    assert [one["name"] for one in record["evaluations"]] == ["run", "run"]
    assert record["evaluations"][1]["pictures_drawn"] == 0
    assert record["evaluations"][0]["scores"]["embedding_drift"]["measured_on"]
    assert "two.html" in said.err
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(finished), *words])
    said = capsys.readouterr()
    assert left.value.code == 0, said.err
    assert "Change with the adapter on" in said.out
    assert (finished / "evaluation.html").is_file()


def test_prompts_of_one_s_own_are_refused_where_the_truth_is_known(embedded_base: OpenedBase) -> None:
    with pytest.raises(ConfigError, match="25 prompts"):
        evaluate_untrained(EvaluationSettings(prompts=("a TOK emoji at sea",)), base=embedded_base)


@pytest.mark.parametrize("scales", ["a,b", "0.4,-1", "9"])
def test_scales_that_are_none_are_refused(finished: Path, scales: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["evaluate", str(finished), "--scales", scales])
    assert left.value.code == 2
    assert "--scales" in capsys.readouterr().err
