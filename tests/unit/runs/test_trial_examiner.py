"""How trials are scored: the oracle's numbers, and a second drawing of the same prompts with other noise."""

from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from lorasmith.evaluation.examination import TRIAL, Amounts
from lorasmith.evaluation.held_out_loss import held_out_losses
from lorasmith.runs.experiment_file import find_experiment, read_experiment, trials_of
from lorasmith.runs.trial_examiner import WorldExaminer
from lorasmith.runs.trials import second_drawing

PROMPTS_ALONE = Amounts(1, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize(("twice", "amounts"), [(True, TRIAL), (False, PROMPTS_ALONE)])
def test_prompts_are_drawn_twice_with_other_noise_where_that_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, twice: bool, amounts: Amounts
) -> None:
    measured = Mock(side_effect=held_out_losses)
    monkeypatch.setattr("lorasmith.runs.evaluate.held_out_losses", measured)
    _, planned = trials_of(read_experiment(find_experiment("same")))[0]
    trial = replace(planned, set_up=replace(planned.set_up, examined_twice=twice))
    examiner = WorldExaminer(tmp_path, amounts=amounts)
    scores = examiner.examine(None, trial, tmp_path)
    drawn = {path.read_bytes() for path in (tmp_path / "drawn").rglob("*.png")}
    assert len(drawn) == (50 if twice else 25), "each of the 25 prompts and nothing else, and no picture twice"
    assert {"joint", "product", "joint_of_even_prompts"} <= scores.keys()
    assert (second_drawing("joint") in scores) == (second_drawing("product") in scores) == twice
    assert measured.call_count == 1, "the base's own losses are measured once"
