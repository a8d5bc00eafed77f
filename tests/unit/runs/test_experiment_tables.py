"""What the tables say: means, paired differences, what is missing; and the regret of rules on curves made by hand."""

import math
from dataclasses import replace
from pathlib import Path
from random import Random
from statistics import mean

import pytest

from lorasmith.errors import ConfigError, DataError
from lorasmith.runs.experiment_file import find_experiment, read_experiment, shipped_experiments, trials_of
from lorasmith.runs.experiment_tables import as_markdown, table_of, tables_of
from lorasmith.runs.experiments import ExperimentPlan, PlannedTrial, read_plans
from lorasmith.runs.regret import as_markdown as regret_as_markdown
from lorasmith.runs.regret import best_of, curve_of, regrets, regrets_of
from lorasmith.runs.trials import CheckpointScores, TrialRecord, second_drawing

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
    assert "1 trial is missing" in text
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


def parabola(peak: int, height: float) -> tuple[float, ...]:
    """Scores of the four checkpoints that are highest at one of them and a quarter of the height less at each step."""
    return tuple(height * (1 - abs(place - peak) ** 2 / 4) for place in range(4))


def test_regret_is_the_share_of_the_best_that_is_lost() -> None:
    records = [curve(name, parabola(1, 0.8), (0.5, 0.3, 0.9, 0.9)) for name in CONCEPTS]
    by_rule = {one.rule: one for one in regrets_of(records, score="joint")}
    assert curve_of(records[0], "joint") == pytest.approx(parabola(1, 0.8)), "what is a parabola is left as it is"
    assert by_rule["the last step"].regret.mean == pytest.approx(1.0)
    assert by_rule["least held-out loss"].regret.mean == pytest.approx(0.0)
    assert by_rule["100 steps a picture"].chosen_steps == (400, 400, 400)
    assert by_rule["100 steps a picture"].regret.mean == pytest.approx(0.25)
    with_score, as_auto = [one for rule, one in by_rule.items() if "evaluator" in rule]
    assert as_auto.regret.mean == with_score.regret.mean, "800 steps are twice the usual number for four pictures"
    assert "half of the prompts" in with_score.rule
    assert with_score.regret.mean == pytest.approx(0.0)
    text = regret_as_markdown(list(by_rule.values()), score="joint")
    assert "| the last step | 100.0% |" in text
    assert "3 trials" in text


def test_what_lies_beyond_the_checkpoints_that_auto_keeps_is_lost_to_it() -> None:
    late = [replace(curve(name, parabola(3, 0.8), (0.5, 0.3, 0.9, 0.9)), pictures=2) for name in CONCEPTS]
    with_score, as_auto = [one for one in regrets_of(late, score="joint") if "evaluator" in one.rule]
    assert set(with_score.chosen_steps) == {800}
    assert set(as_auto.chosen_steps) == {400}, "twice the usual 200 steps for two pictures"
    assert "up to 2 times the usual steps" in as_auto.rule
    assert as_auto.regret.mean == pytest.approx(0.25)


def drawn_twice(record: TrialRecord, first: tuple[float, ...], second: tuple[float, ...]) -> TrialRecord:
    """The trial with the product scores of both drawings; what they judge by stays as it was."""
    checkpoints = tuple(
        replace(
            one,
            scores={
                **one.scores,
                "product": chosen_by,
                second_drawing("product"): again,
                second_drawing("joint"): one.scores["joint"],
            },
        )
        for one, chosen_by, again in zip(record.checkpoints, first, second, strict=True)
    )
    return replace(record, checkpoints=checkpoints)


def test_an_evaluators_choice_is_judged_by_pictures_it_has_not_seen() -> None:
    losses = (0.5, 0.3, 0.9, 0.9)
    misled = [
        drawn_twice(curve(name, parabola(1, 0.8), losses), parabola(1, 0.8), parabola(3, 0.8)) for name in CONCEPTS
    ]
    found, _ = [one for one in regrets_of(misled, score="joint") if "evaluator" in one.rule]
    assert "drawn again with other noise" in found.rule
    assert found.regret.mean == pytest.approx(0.5), "one drawing chooses the best, the other one that scores nothing"
    assert set(found.chosen_steps) == {200, 800}


def test_trials_examined_once_and_twice_are_told_apart() -> None:
    once = curve("robot", parabola(1, 0.8), (0.5, 0.3, 0.9, 0.9))
    twice = drawn_twice(curve("cactus", parabola(1, 0.8), (0.5, 0.3, 0.9, 0.9)), parabola(1, 0.8), parabola(1, 0.8))
    found = [one for one in regrets_of([once, twice], score="joint") if "evaluator" in one.rule]
    assert [one.regret.values for one in found] == [1, 1, 1, 1]
    assert ["half of the prompts" in one.rule for one in found] == [True, True, False, False]
    plain = [one for one in regrets_of([once, twice], score="joint") if "evaluator" not in one.rule]
    assert {one.regret.values for one in plain} == {2}


def test_both_drawings_count_for_what_a_checkpoint_is_worth() -> None:
    record = curve("robot", (0.2, 0.4, 0.6, 0.8), (0.5, 0.3, 0.9, 0.9))
    checkpoints = tuple(
        replace(
            one, scores={"joint": 0.2, "product": 0.2, second_drawing("joint"): 0.4, second_drawing("product"): 0.4}
        )
        for one in record.checkpoints
    )
    assert curve_of(replace(record, checkpoints=checkpoints), "joint") == pytest.approx([0.3] * 4)


def test_regret_is_a_share_of_the_sum_so_that_a_concept_hardly_learnt_decides_nothing() -> None:
    losses = (0.5, 0.3, 0.9, 0.9)
    records = [curve("robot", parabola(3, 0.9), losses), curve("cactus", parabola(1, 0.1), losses)]
    (last,) = [one for one in regrets_of(records, score="joint") if one.rule == "the last step"]
    assert last.regret.mean == pytest.approx(0.1)


def test_the_best_checkpoint_is_not_thought_better_for_the_luck_of_its_pictures() -> None:
    chance, steps = Random(0), [round(125 * 10 ** (place / 11)) for place in range(12)]
    truth = [0.7 - 0.1 * math.log(step / 440) ** 2 for step in steps]
    records = list[TrialRecord]()
    for number in range(400):
        even, odd = ([value + chance.gauss(0, 0.3) for value in truth] for _ in range(2))
        checkpoints = tuple(
            CheckpointScores(
                step, {"joint": (a + b) / 2, "joint_of_even_prompts": a, "joint_of_odd_prompts": b}, 0.5, 0.1
            )
            for step, a, b in zip(steps, even, odd, strict=True)
        )
        records.append(TrialRecord(str(number), str(number), 0, pictures=5, checkpoints=checkpoints, start_loss=1.0))
    excess = mean(max(curve_of(one, "joint")) for one in records) - max(truth)
    left = mean(best_of(one, "joint") for one in records) - max(truth)
    assert excess > 0.05
    assert abs(left) < excess / 3
    by_rule = {one.rule: one.regret.mean for one in regrets_of(records, score="joint")}
    at_500 = truth[steps.index(541)]
    assert by_rule["100 steps a picture"] == pytest.approx(1 - at_500 / max(truth), abs=0.03)
    assert by_rule["the last step"] == pytest.approx(1 - truth[-1] / max(truth), abs=0.03)


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
    with pytest.raises(ConfigError, match=r"'mode' was run here\. There are made"):
        regrets(tmp_path, experiments=["made", "mode"])


@pytest.mark.parametrize("name", sorted(shipped_experiments()))
def test_every_shipped_experiment_can_be_run_and_says_a_question(name: str) -> None:
    two_seeds = ("targets-again", "with-feed-forward")
    experiment = read_experiment(find_experiment(name))
    assert experiment.name == name
    assert experiment.question.endswith("?")
    assert trials_of(experiment)
    if name != "controls" and not name.startswith("checkpoints"):
        assert len(experiment.chosen_concepts()) >= 12
        assert len(experiment.seeds) * len(experiment.chosen_concepts()) >= (26 if name in two_seeds else 39)


def test_shipped_experiments_share_their_usual_arm() -> None:
    usual = (
        "tokens",
        "optimizer",
        "min-snr",
        "targets",
        "rank",
        "pivot",
        "prior",
        "token-norm",
        "pooling",
        "pictures",
        "same",
    )
    keys = set[str]()
    for name in usual:
        experiment = read_experiment(find_experiment(name))
        trials = [trial for arm, trial in trials_of(experiment) if arm == experiment.reference]
        keys |= {trial.key(base="b", protocol="p") for trial in trials}
    assert len(keys) == 13 * 3


def test_a_name_that_is_no_experiment_is_told_which_there_are() -> None:
    with pytest.raises(ConfigError, match="rank, same"):
        find_experiment("ranks")
