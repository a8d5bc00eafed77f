"""What the tables say: means, paired differences, what is missing; and the regret of rules on curves made by hand."""

from pathlib import Path

import pytest

from lorasmith.errors import ConfigError, DataError
from lorasmith.runs.experiment_file import find_experiment, read_experiment, shipped_experiments, trials_of
from lorasmith.runs.experiment_tables import as_markdown, table_of, tables_of
from lorasmith.runs.experiments import ExperimentPlan, PlannedTrial, read_plans
from lorasmith.runs.regret import as_markdown as regret_as_markdown
from lorasmith.runs.regret import regrets, regrets_of, smoothed
from lorasmith.runs.trials import CheckpointScores, TrialRecord

CONCEPTS = ("robot", "cactus", "octopus")


def planned(*arms: str) -> ExperimentPlan:
    """An experiment with three concepts and one seed."""
    trials = [PlannedTrial(arm, concept, 0, f"{arm}/{concept}") for arm in arms for concept in CONCEPTS]
    return ExperimentPlan("made", "Is it | better?", "joint", arms[0], tuple(trials))


def scored(arm: str, *joints: float) -> dict[str, TrialRecord]:
    """One trial for each concept, as far as there are scores."""
    keys = [f"{arm}/{concept}" for concept in CONCEPTS]
    return {
        key: TrialRecord(key, concept, 0, scores={"joint": joint, "fidelity": 1.0})
        for key, concept, joint in zip(keys, CONCEPTS, joints, strict=False)
    }


def test_differences_are_paired_and_what_is_missing_is_said() -> None:
    plan = planned("usual", "other")
    table = table_of(plan, {**scored("usual", 0.1, 0.5, 0.9), **scored("other", 0.2, 0.6)})
    reference, other = table.rows
    assert reference.cells["joint"].mean.mean == pytest.approx(0.5)
    assert reference.cells["joint"].difference is None
    difference = other.cells["joint"].difference
    assert difference is not None
    assert difference.mean == pytest.approx(0.1), "although its own mean is lower"
    assert other.cells["joint"].mean.mean == pytest.approx(0.4)
    assert table.missing == 1
    text = as_markdown(table)
    assert "0.400 (**+0.100" in text
    assert "1 trials are missing" in text
    assert "Is it \\| better?" in text
    assert "| 2 of 3 |" in text


def test_the_primary_score_stands_first_and_a_failed_trial_counts_as_failed() -> None:
    failed = {"other/robot": TrialRecord("other/robot", "robot", 0, failed="the loss is no longer finite")}
    table = table_of(planned("usual", "other"), {**scored("usual", 0.1, 0.5, 0.9), **failed})
    assert table.scores == ("joint", "fidelity")
    assert (table.rows[1].failed, table.rows[1].done, table.missing) == (1, 0, 2)
    assert "0 of 3, 1 failed" in as_markdown(table)


def test_a_folder_without_experiments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no experiments"):
        tables_of(tmp_path)


STEPS = (100, 200, 400, 800)


def curve(concept: str, joints: tuple[float, ...], losses: tuple[float, ...]) -> TrialRecord:
    """A trial whose checkpoints were all evaluated; halves of the prompts agree."""
    checkpoints = tuple(
        CheckpointScores(
            step, {"joint": joint, "joint_of_even_prompts": joint, "joint_of_odd_prompts": joint}, loss, 0.1
        )
        for step, joint, loss in zip(STEPS, joints, losses, strict=True)
    )
    return TrialRecord(concept, concept, 0, pictures=4, steps=800, checkpoints=checkpoints, start_loss=1.0)


def test_regret_is_the_share_of_the_best_that_is_lost() -> None:
    records = [curve(name, (0.0, 0.8, 0.8, 0.0), (0.5, 0.3, 0.9, 0.9)) for name in CONCEPTS]
    by_rule = {one.rule: one for one in regrets_of(records, score="joint")}
    best = smoothed(records[0].checkpoints, "joint")
    assert best == pytest.approx([0.2, 0.6, 0.6, 0.2])
    assert by_rule["the last step"].regret.mean == pytest.approx(2 / 3)
    assert by_rule["least held-out loss"].regret.mean == pytest.approx(0.0)
    assert by_rule["100 steps a picture"].chosen_steps == (400, 400, 400)
    (with_score,) = [one for rule, one in by_rule.items() if "evaluator" in rule]
    assert with_score.regret.mean == pytest.approx(0.0)
    text = regret_as_markdown(list(by_rule.values()), score="joint")
    assert "| the last step | 66.7% |" in text
    assert "3 trials" in text


def test_a_concept_that_is_never_learnt_costs_no_rule_anything() -> None:
    found = regrets_of([curve("robot", (0.0,) * 4, (0.5, 0.3, 0.9, 0.9))], score="joint")
    assert {one.regret.mean for one in found} == {0.0}


def test_regret_needs_trials_with_checkpoints(tmp_path: Path) -> None:

    with pytest.raises(ConfigError):
        read_plans(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "made.json").write_text(
        '{"name": "made", "question": "?", "primary": "joint", "reference": "a", "trials": []}'
    )
    with pytest.raises(DataError, match="checkpoints"):
        regrets(tmp_path)


@pytest.mark.parametrize("name", sorted(shipped_experiments()))
def test_every_shipped_experiment_can_be_run_and_says_a_question(name: str) -> None:
    experiment = read_experiment(find_experiment(name))
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert trials_of(experiment)
    if name not in ("controls", "checkpoints"):
        assert len(experiment.chosen_concepts()) >= 12
        assert len(experiment.seeds) >= 3


def test_shipped_experiments_share_their_usual_arm() -> None:
    usual = ("tokens", "optimizer", "min-snr", "targets", "rank", "pivot", "prior", "token-norm", "pooling", "same")
    keys = set[str]()
    for name in usual:
        experiment = read_experiment(find_experiment(name))
        trials = [trial for arm, trial in trials_of(experiment) if arm == experiment.reference]
        keys |= {trial.key(base="b", protocol="p") for trial in trials}
    assert len(keys) == 13 * 3


def test_a_name_that_is_no_experiment_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="rank, same"):
        find_experiment("ranks")
