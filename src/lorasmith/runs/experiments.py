"""Owns doing the trials of experiments, each once and whoever asks for it; refuses to judge what they mean."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lorasmith.atomic import write_json
from lorasmith.errors import ConfigError, StoppedError
from lorasmith.runs.experiment_file import Experiment, read_experiment, trials_of
from lorasmith.runs.trial_bench import Bench, Examiner
from lorasmith.runs.trials import Ledger, Trial, TrialRecord

_PLANS = "experiments"


@dataclass(frozen=True)
class PlannedTrial:
    """Which trial an experiment's arm has for a concept and a seed."""

    arm: str
    concept: str
    seed: int
    key: str


@dataclass(frozen=True)
class ExperimentPlan:
    """An experiment as it was last run: what the tables are made from, without any base."""

    name: str
    question: str
    primary: str
    reference: str
    trials: tuple[PlannedTrial, ...]

    @property
    def arms(self) -> tuple[str, ...]:
        """Its arms, in the file's order."""
        return tuple(dict.fromkeys(trial.arm for trial in self.trials))


@dataclass(frozen=True)
class TrialDone:
    """A trial was done just now: the `done`-th of `total` that these experiments share out."""

    arms: tuple[str, ...]
    record: TrialRecord
    done: int
    total: int


def run_experiments(
    paths: Sequence[Path],
    folder: Path,
    examiner: Examiner,
    *,
    stop: Callable[[], bool] = lambda: False,
    tell: Callable[[TrialDone], None] = lambda done: None,
) -> int:
    """Do every trial of the experiments that is not done yet; how many were done here.

    A trial that several arms or experiments share is done once. Other processes may work in the same folder. Raises
    StoppedError, with whole trials kept, when asked to stop; ConfigError before any work for a file that is wrong.
    """
    experiments = [read_experiment(path) for path in paths]
    _refuse_two_of_a_name(experiments)
    bench, ledger = Bench(folder, examiner, stop), Ledger(folder)
    wanted = _wanted(experiments, bench)
    for experiment in experiments:
        _write_plan(folder, experiment, bench)
    done_here = 0
    for key, (arms, trial) in wanted.items():
        if stop():
            raise _stopped(folder)
        with ledger.taking(key) as mine:
            if not mine:
                continue
            try:
                record = bench.do(trial)
            except StoppedError:  # in the middle of a trial, whose own run is not there to be resumed
                raise _stopped(folder) from None
            ledger.add(record)
        done_here += 1
        done = ledger.done()
        tell(TrialDone(tuple(arms), record, sum(one in done for one in wanted), len(wanted)))
    return done_here


def read_plans(folder: Path) -> list[ExperimentPlan]:
    """The experiments that were run into a folder, by name. ConfigError when there are none."""
    plans = [_plan_in(path) for path in sorted((folder / _PLANS).glob("*.json"))]
    if not plans:
        raise ConfigError(
            f"there are no experiments in {folder}",
            remedy="Run one first: `lorasmith experiments run FILE.toml --to FOLDER`.",
        )
    return plans


def _wanted(experiments: Sequence[Experiment], bench: Bench) -> dict[str, tuple[list[str], Trial]]:
    """Each different trial once, by key, with all arms that it stands for; those of one seed first."""
    wanted: dict[str, tuple[list[str], Trial]] = {}
    all_trials = [(f"{one.name}: {arm}", trial) for one in experiments for arm, trial in trials_of(one)]
    for arm, trial in sorted(all_trials, key=lambda pair: pair[1].seed):
        arms, _ = wanted.setdefault(bench.key(trial), ([], trial))
        arms.append(arm)
    return wanted


def _write_plan(folder: Path, experiment: Experiment, bench: Bench) -> None:
    trials = [
        {"arm": arm, "concept": trial.concept.name, "seed": trial.seed, "key": bench.key(trial)}
        for arm, trial in trials_of(experiment)
    ]
    said = {name: getattr(experiment, name) for name in ("name", "question", "primary", "reference")}
    write_json(folder / _PLANS / f"{experiment.name}.json", {**said, "trials": trials})


def _plan_in(path: Path) -> ExperimentPlan:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        trials = tuple(PlannedTrial(**one) for one in found.pop("trials"))
        return ExperimentPlan(**found, trials=trials)
    except (OSError, ValueError, TypeError, KeyError) as broken:
        raise ConfigError(
            f"{path} cannot be read: {broken}", remedy="Run the experiment again; its trials are kept."
        ) from broken


def _refuse_two_of_a_name(experiments: Sequence[Experiment]) -> None:
    names = [one.name for one in experiments]
    twice = [name for name in dict.fromkeys(names) if names.count(name) > 1]
    if twice:
        raise ConfigError(f"two experiments are called {twice[0]!r}", remedy="Give each a name of its own.")


def _stopped(folder: Path) -> StoppedError:
    return StoppedError(
        f"stopped; the trials that are done are kept in {folder}", remedy="The same command goes on with the others."
    )
