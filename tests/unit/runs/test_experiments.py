"""An experiment's trials: each is done once, whoever asks for it, and stopping loses none that is done."""

import json
import multiprocessing
from pathlib import Path
from typing import Any

import pytest
from made_experiments import ARMS, CountingExaminer, write_experiment

from lorasmith.errors import ConfigError, StoppedError
from lorasmith.runs.experiment_file import read_experiment, trials_of
from lorasmith.runs.experiments import TrialDone, read_plans, run_experiments
from lorasmith.runs.trials import Ledger, TrialRecord


def test_every_arm_concept_and_seed_is_one_trial(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, seeds=[0, 1])
    trials = trials_of(read_experiment(file))
    told = [(arm, trial.concept.name, trial.seed, trial.config.adapter.rank) for arm, trial in trials]
    assert len(set(told)) == len(told) == 2 * 2 * 2
    assert {(arm, rank) for arm, _, _, rank in told} == {("usual", 4), ("small", 2)}
    assert all(trial.config.runtime.seed == trial.seed for _, trial in trials)


def test_trials_that_are_done_are_not_done_again(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, concepts=["teddy bear"])
    examiner = CountingExaminer()
    assert run_experiments([file], tmp_path / "out", examiner) == 2
    before = Ledger(tmp_path / "out").done()
    assert run_experiments([file], tmp_path / "out", examiner) == 0
    assert Ledger(tmp_path / "out").done() == before
    assert len(examiner.seen) == 2
    small, usual = sorted(record.scores["joint"] for record in before.values())
    assert 0 < small < usual, "the arms were trained as they say"


def test_experiments_share_the_arm_they_have_in_common(tiny_base: Path, tmp_path: Path) -> None:
    first = write_experiment(tmp_path / "one.toml", tiny_base, concepts=["teddy bear"])
    arms = ARMS.replace("small", "other").replace('"adapter.rank" = 2', '"tokens.enabled" = false')
    second = write_experiment(tmp_path / "two.toml", tiny_base, arms=arms, concepts=["teddy bear"], name="tokens")
    examiner = CountingExaminer()
    said = list[TrialDone]()
    assert run_experiments([first, second], tmp_path / "out", examiner, tell=said.append) == 3
    assert said[0].arms == ("small: usual", "tokens: usual")
    assert [(done.done, done.total) for done in said] == [(1, 3), (2, 3), (3, 3)]
    one, two = read_plans(tmp_path / "out")
    assert len({trial.key for trial in (*one.trials, *two.trials)}) == 3


def test_stopping_keeps_whole_trials_and_the_same_command_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, concepts=["robot"])
    said = list[TrialDone]()
    with pytest.raises(StoppedError):
        run_experiments([file], tmp_path / "out", CountingExaminer(), stop=lambda: len(said) == 1, tell=said.append)
    examiner = CountingExaminer()
    assert run_experiments([file], tmp_path / "out", examiner) == 1
    assert len(Ledger(tmp_path / "out").done()) == 2
    assert not list((tmp_path / "out" / ".work").iterdir()), "nothing of a stopped trial is left"


def test_stopping_in_the_middle_of_a_trial_keeps_nothing_of_it(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, concepts=["robot"])
    asked = iter([False, True])
    with pytest.raises(StoppedError, match="The same command goes on"):
        run_experiments([file], tmp_path / "out", CountingExaminer(), stop=lambda: next(asked))
    assert Ledger(tmp_path / "out").done() == {}
    assert not list((tmp_path / "out" / ".work").iterdir())


def test_a_line_that_a_kill_left_half_written_costs_its_own_trial_alone(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, concepts=["teddy bear"])
    run_experiments([file], tmp_path / "out", CountingExaminer())
    ledger = tmp_path / "out" / "trials.jsonl"
    ledger.write_bytes(ledger.read_bytes()[:-40])
    assert run_experiments([file], tmp_path / "out", CountingExaminer()) == 1
    assert len(Ledger(tmp_path / "out").done()) == 2


def _run(file: Path, folder: Path) -> None:
    run_experiments([file], folder, CountingExaminer())


@pytest.mark.slow
def test_two_processes_share_the_work(tiny_base: Path, tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tiny_base, seeds=[0, 1, 2])
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_run, args=(file, tmp_path / "out")) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    lines = (tmp_path / "out" / "trials.jsonl").read_text().splitlines()
    assert len(lines) == len({json.loads(line)["key"] for line in lines}) == 12


def test_a_trial_that_another_process_is_at_is_left_to_it(tmp_path: Path) -> None:
    ledger, other = Ledger(tmp_path), Ledger(tmp_path)
    with ledger.taking("abc") as mine:
        assert mine
        with other.taking("abc") as also:
            assert not also
        with other.taking("def") as free:
            assert free
    ledger.add(TrialRecord("abc", "teddy bear", 0))
    with other.taking("abc") as mine:
        assert not mine, "it is done"


@pytest.mark.parametrize(
    ("changed", "same"),
    [
        ({"name": "renamed", "question": "Another?"}, True),
        ({"pictures": 4}, False),
        ({"options": {"output.name": "elsewhere", "checkpoint.keep": 5, "validation.prompts": "a"}}, True),
        ({"options": {"data.flip": False, "tokens.init": "none"}}, True),
        ({"options": {"adapter.rank": 5}}, False),
        ({"options": {"adapter.targets": "attention+feed-forward"}}, True),
        ({"options": {"adapter.targets": "attention"}}, False),
        ({"options": {"schedule.pivot_step": 0}}, False),
        ({"options": {"validation.held_out": 1}}, False),
        ({"options": {"optimizer.name": "adamw"}}, False),
        ({"arm": {"seeds_from": 1000}}, False),
        ({"arm": {"wording": "shuffled"}}, False),
        ({"arm": {"pooling": "highest_id"}}, False),
        ({"arm": {"checkpoints": [1]}}, False),
        ({"arm": {"examined_twice": True}}, False),
        ({"arm": {"examined_twice": False}}, True),
    ],
)
def test_a_trial_is_known_by_all_that_its_result_depends_on_and_nothing_else(
    tmp_path: Path, changed: dict[str, Any], same: bool
) -> None:
    def key(**changes: Any) -> str:
        arm = "".join(f"{name} = {json.dumps(value)}\n" for name, value in changes.pop("arm", {}).items())
        options = "".join(f"{json.dumps(n)} = {json.dumps(v)}\n" for n, v in changes.pop("options", {}).items())
        arms = f'{options}[[arms]]\nname = "only"\nreference = true\n{arm}'
        file = write_experiment(tmp_path / "one.toml", tmp_path / "base", arms=arms, concepts=["robot"], **changes)
        content = file.read_text()
        if "adapter.rank" in options:
            file.write_text(content.replace('"adapter.rank" = 4\n', ""))
        ((_, trial),) = trials_of(read_experiment(file))
        return trial.key(base="b", protocol="p")

    assert (key(**changed) == key()) == same


def test_a_trial_is_another_on_another_base_and_under_another_protocol(tmp_path: Path) -> None:
    file = write_experiment(tmp_path / "one.toml", tmp_path / "base", concepts=["robot"])
    (_, trial), _ = trials_of(read_experiment(file))
    keys = {trial.key(base=base, protocol=protocol) for base in "ab" for protocol in "pq"}
    assert len(keys) == 4


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"arms": ARMS.replace("reference = true", "")}, "exactly one arm"),
        ({"arms": ARMS.replace('"small"', '"usual"')}, "share a name"),
        ({"arms": ARMS.replace("adapter.rank", "adapter.rnk")}, "adapter.rank"),
        ({"concepts": ["no such thing"]}, "no such thing"),
        ({"name": "No Such Name"}, "name"),
        ({"sides": 3}, "sides"),
    ],
)
def test_a_file_that_is_wrong_is_refused_before_any_work(tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    file = write_experiment(tmp_path / "one.toml", tmp_path / "no-base", **wrong)
    with pytest.raises(ConfigError, match=told):
        run_experiments([file], tmp_path / "out", CountingExaminer())
    assert not (tmp_path / "out").exists()
