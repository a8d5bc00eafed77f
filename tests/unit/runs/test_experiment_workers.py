"""Several workers share an experiment out, and each of them is prepared as the command is."""

import os
from functools import partial
from pathlib import Path

from made_experiments import write_experiment

from lorasmith.runs.experiment_file import read_experiment, trials_of
from lorasmith.runs.experiment_workers import run_with_workers
from lorasmith.runs.trial_bench import Bench
from lorasmith.runs.trial_examiner import WorldExaminer
from lorasmith.runs.trials import Ledger, TrialRecord


def _leave_a_note(folder: Path) -> None:
    (folder / str(os.getpid())).touch()


def test_each_further_process_is_prepared_first(tiny_base: Path, tmp_path: Path) -> None:
    file, out, notes = write_experiment(tmp_path / "one.toml", tiny_base), tmp_path / "out", tmp_path / "notes"
    notes.mkdir()
    bench = Bench(out, WorldExaminer(out), lambda: False)
    for _, trial in trials_of(read_experiment(file)):
        Ledger(out).add(TrialRecord(bench.key(trial), trial.concept.name, trial.seed))
    done = run_with_workers([file], out, workers=2, tell=print, prepare=partial(_leave_a_note, notes))
    assert done == 0
    (note,) = notes.iterdir()
    assert int(note.name) != os.getpid()
