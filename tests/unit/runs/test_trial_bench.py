# pyright: reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""One trial: trained on a copy of the base, with the pictures, class images and pooling its arm says."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from made_experiments import CountingExaminer, write_experiment
from PIL import Image
from safetensors.torch import load_file

from lorasmith.runs.experiment_file import read_experiment, trials_of
from lorasmith.runs.trial_bench import Bench, write_class_images
from lorasmith.runs.trials import Scores, Trial
from lorasmith.world import find_concept


@dataclass
class KeepingExaminer(CountingExaminer):
    """Remembers each export's weights and the pictures it came from."""

    weights: list[dict[str, torch.Tensor]] = field(default_factory=list[dict[str, torch.Tensor]])
    images: list[Path] = field(default_factory=list[Path])

    def examine(self, export: Path | None, trial: Trial, instance_images: Path) -> Scores:
        """Keep what there is to see."""
        self.images.append(instance_images)
        if export is not None:
            self.weights.append(load_file(export / "pytorch_lora_weights.safetensors"))
        return {"joint": 0.5}


def prepared(tiny_base: Path, tmp_path: Path, arm: str, *, options: str = "") -> tuple[KeepingExaminer, Bench, Trial]:
    """One trial of one arm, and where it can be done."""
    arms = f'{options}[[arms]]\nname = "only"\nreference = true\n{arm}'
    file = write_experiment(tmp_path / "one.toml", tiny_base, arms=arms, concepts=["robot"])
    ((_, trial),) = trials_of(read_experiment(file))
    examiner = KeepingExaminer()
    return examiner, Bench(tmp_path / "out", examiner), trial


def done(tiny_base: Path, tmp_path: Path, arm: str, *, options: str = "") -> tuple[KeepingExaminer, Bench, Trial]:
    """The same, done once."""
    examiner, bench, trial = prepared(tiny_base, tmp_path, arm, options=options)
    record = bench.do(trial)
    assert record.scores == {"joint": 0.5}
    assert (record.steps > 0) == trial.set_up.trained
    return examiner, bench, trial


def test_a_trial_leaves_the_base_as_it_was(tiny_base: Path, tmp_path: Path) -> None:
    examiner, bench, trial = done(tiny_base, tmp_path, "")
    bench.do(trial)
    first, second = examiner.weights
    assert all(torch.equal(first[name], second[name]) for name in first), "the second began where the first did"


def test_captions_say_what_the_arm_wants(tiny_base: Path, tmp_path: Path) -> None:
    examiner, _, _ = done(tiny_base, tmp_path, 'wording = "class-word"\n')
    captions = {path.read_text().strip() for path in examiner.images[0].glob("*.txt")}
    assert captions == {find_concept("robot").bare_prompt()}


def test_checkpoints_are_examined_and_measured_on_the_way(tiny_base: Path, tmp_path: Path) -> None:
    options = '"validation.held_out" = 1\n'
    examiner, bench, trial = prepared(tiny_base, tmp_path, "checkpoints = [1]\n", options=options)
    record = bench.do(trial)
    assert [one.step for one in record.checkpoints] == [1, 2]
    drifts = [one.drift or 0.0 for one in record.checkpoints]
    assert 0 < drifts[0] < drifts[1], "it drifts further the longer it trains"
    assert record.start_loss is not None
    assert all(one.held_out_loss not in (None, record.start_loss) for one in record.checkpoints)
    early, late = examiner.weights[:2]
    assert any(not torch.equal(early[name], late[name]) for name in early)


def test_the_base_alone_is_examined_without_training(tiny_base: Path, tmp_path: Path) -> None:
    examiner, _, _ = done(tiny_base, tmp_path, "trained = false\n")
    assert examiner.weights == []


def test_pooling_at_the_highest_id_trains_something_else(tiny_base: Path, tmp_path: Path) -> None:
    right, bench, trial = done(tiny_base, tmp_path, "")
    wrong, _, _ = done(tiny_base, tmp_path, 'pooling = "highest_id"\n')
    assert any(not torch.equal(right.weights[0][name], wrong.weights[0][name]) for name in right.weights[0])
    bench.do(trial)
    assert all(torch.equal(*pair) for pair in zip(right.weights[0].values(), right.weights[1].values(), strict=True))


def test_true_class_images_show_the_class_and_not_the_concept(tmp_path: Path) -> None:
    write_class_images(find_concept("teddy bear"), tmp_path, 10, seed=0)
    captions = [path.read_text() for path in tmp_path.glob("*.txt")]
    pictures = [Image.open(path) for path in tmp_path.glob("*.png")]
    assert len(pictures) == 10
    assert not any("teddy" in caption for caption in captions)


@pytest.mark.parametrize("kind", ["true", "drawn"])
def test_class_images_are_made_once_and_trained_on(tiny_base: Path, tmp_path: Path, kind: str) -> None:
    options = '"prior.num_class_images" = 2\n"prior.sample_steps" = 1\n'
    _, bench, trial = done(tiny_base, tmp_path, f'class_images = "{kind}"\n', options=options)
    folder = bench.class_images(trial)
    assert folder is not None
    times = {path: path.stat().st_mtime_ns for path in folder.glob("*.png")}
    assert len(times) == 2
    bench.do(trial)
    assert {path: path.stat().st_mtime_ns for path in folder.glob("*.png")} == times
