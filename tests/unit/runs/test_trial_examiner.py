"""How trials are scored: the oracle's numbers, and a second drawing of the same prompts with other noise."""

from dataclasses import replace
from pathlib import Path

import pytest

from lorasmith.evaluation.examination import Amounts
from lorasmith.runs.experiment_file import find_experiment, read_experiment, trials_of
from lorasmith.runs.trial_examiner import WorldExaminer
from lorasmith.runs.trials import second_drawing

PROMPTS_ALONE = Amounts(1, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("twice", [True, False])
def test_a_second_drawing_asks_the_same_prompts_with_other_noise(tmp_path: Path, twice: bool) -> None:
    _, planned = trials_of(read_experiment(find_experiment("same")))[0]
    trial = replace(planned, set_up=replace(planned.set_up, examined_twice=twice))
    examiner = WorldExaminer(tmp_path, amounts=PROMPTS_ALONE)
    scores = examiner.examine(None, trial, tmp_path)
    drawn = {path.read_bytes() for path in (tmp_path / "drawn").rglob("*.png")}
    assert len(drawn) == (50 if twice else 25), "each of the 25 prompts, and no picture twice"
    assert {"joint", "product", "joint_of_even_prompts"} <= scores.keys()
    assert (second_drawing("joint") in scores) == (second_drawing("product") in scores) == twice
    (opened,) = examiner._open.values()  # pyright: ignore[reportPrivateUsage]
    assert len(opened.own_losses) == 1, "the base's own losses are measured once"
