"""The evaluation sees what is known to be bad, on the embedded base with fixed seeds; minutes for each training.

`pytest -m slow tests/behaviour/test_the_protocol_proves_itself.py` (about twenty minutes of one quiet core; with
`LORASMITH_TRIALS=folder` trainings that are done there are not done again).
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from lorasmith.runs.experiment_file import find_experiment
from lorasmith.runs.experiment_tables import Cell, Table, tables_of
from lorasmith.runs.experiment_workers import run_with_workers

pytestmark = pytest.mark.slow

CONCEPTS = 'concepts = ["robot", "cactus", "lime dog with blue dots"]'
SAME = f"""
name = "same-three"
question = "How large are differences that mean nothing?"
{CONCEPTS}
seeds = [0]

[options]
"schedule.steps" = 200

[[arms]]
name = "usual"
reference = true

[[arms]]
name = "usual, other seeds"
seeds_from = 1000
"""


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Table]:
    """The known-bad controls, of three concepts, and the same arm twice, trained and evaluated once for all tests."""
    folder = tmp_path_factory.mktemp("controls")
    known_bad, same = folder / "known-bad.toml", folder / "same.toml"
    shipped = re.sub("^concepts = .*$", CONCEPTS, find_experiment("controls").read_text(), flags=re.MULTILINE)
    known_bad.write_text(shipped.replace('name = "controls"', 'name = "controls-three"'))
    same.write_text(SAME)
    trials = Path(os.environ.get("LORASMITH_TRIALS", folder / "trials"))
    run_with_workers([known_bad, same], trials, workers=1, tell=lambda text: None)
    return {table.plan.name: table for table in tables_of(trials)}


def cell(tables: Mapping[str, Table], arm: str, score: str) -> Cell:
    """One score of a control arm."""
    return next(row for row in tables["controls-three"].rows if row.arm == arm).cells[score]


def mean(tables: Mapping[str, Table], arm: str, score: str) -> float:
    """Its mean over concepts."""
    return cell(tables, arm, score).mean.mean


def test_no_training_is_worse_than_too_little_and_that_is_worse_than_enough(tables: Mapping[str, Table]) -> None:
    none, little, enough = (mean(tables, arm, "joint") for arm in ("no training", "half of the steps", "usual"))
    assert none < little < enough


def test_ten_times_the_steps_copy_more_vary_less_and_drift_further(tables: Mapping[str, Table]) -> None:
    over, usual = "ten times the steps", "usual"
    assert mean(tables, over, "copy_gap") > mean(tables, usual, "copy_gap")
    assert mean(tables, over, "variety") < mean(tables, usual, "variety")
    assert mean(tables, over, "embedding_drift") > mean(tables, usual, "embedding_drift")


def test_captions_that_leave_the_background_out_leak_it(tables: Mapping[str, Table]) -> None:
    """Both arms learn from pictures on one background; only one is told which."""
    silent, told = "captions of the class word alone, on one background", "full captions, on one background"
    assert mean(tables, silent, "leakage") > mean(tables, told, "leakage")


def test_shuffled_captions_cut_prompt_following(tables: Mapping[str, Table]) -> None:
    assert mean(tables, "shuffled captions", "prompt_following") < mean(tables, "usual", "prompt_following")


def test_the_same_arm_with_other_seeds_makes_no_difference(tables: Mapping[str, Table]) -> None:
    _, other = tables["same-three"].rows
    difference = other.cells["joint"].difference
    assert difference is not None
    assert not difference.excludes_zero
    untrained = mean(tables, "usual", "joint") - mean(tables, "no training", "joint")
    assert abs(difference.mean) < untrained / 2


def test_nothing_is_missing(tables: Mapping[str, Table]) -> None:
    for name in ("controls-three", "same-three"):
        assert tables[name].missing == 0
        assert not any(row.failed for row in tables[name].rows)
