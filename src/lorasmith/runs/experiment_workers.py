"""Owns doing experiments with the shipped evaluation, in one process or in several; refuses to do trials itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from lorasmith.errors import LorasmithError, StoppedError
from lorasmith.runs.experiment_file import read_experiment
from lorasmith.runs.experiments import TrialDone, run_experiments
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.trial_examiner import WorldExaminer
from lorasmith.runs.trials import Ledger

Tell = Callable[[str], None]
Prepare = Callable[[], None]


def run_with_workers(
    paths: Sequence[Path], folder: Path, *, workers: int, tell: Tell, prepare: Prepare | None = None
) -> int:
    """Do the experiments' trials; how many more are done then, by whomever. Files are read before any process starts.

    Each worker takes its share of the processor's threads. A worker's failure is the command's, once all have ended.
    `prepare`, a function of a module, is called first in each process but this one.
    """
    for path in paths:
        read_experiment(path)
    before = len(Ledger(folder).done())
    others = _start(paths, folder, workers - 1, prepare)
    if workers > 1:
        torch.set_num_threads(_threads(workers))
    try:
        _work(paths, folder, tell)
    finally:
        for other in others:
            other.join()
    if any(other.exitcode for other in others):
        raise LorasmithError(
            "a worker ended early; what it said is above", remedy="The trials that are done are kept: start it again."
        )
    return len(Ledger(folder).done()) - before


def told(done: TrialDone) -> str:
    """One finished trial in a line."""
    record = done.record
    where = f"{done.done} of {done.total}"
    name = f"{', '.join(done.arms)}; {record.concept}, seed {record.seed}"
    if record.failed is not None:
        return f"{where}: {name}: failed: {record.failed}"
    scores = ", ".join(f"{score} {value:.2f}" for score, value in list(record.scores.items())[:3])
    seconds = f"{record.seconds_training:.0f} + {record.seconds_examining:.0f} s"
    return f"{where}: {name}: {scores} ({seconds})"


def _work(paths: Sequence[Path], folder: Path, tell: Tell) -> None:
    stop = StopSignal()
    with stop.listening():
        run_experiments(paths, folder, WorldExaminer(folder), stop=stop.is_set, tell=lambda done: tell(told(done)))


def _start(paths: Sequence[Path], folder: Path, count: int, prepare: Prepare | None) -> list[SpawnProcess]:
    context = get_context("spawn")
    arguments = ([*paths], folder, _threads(count + 1), prepare)
    others = [context.Process(target=_other, args=arguments) for _ in range(count)]
    for other in others:
        other.start()
    return others


def _other(paths: list[Path], folder: Path, threads: int, prepare: Prepare | None) -> None:
    """Another process's share of the work; the first one tells of what both have done."""
    if prepare is not None:
        prepare()
    torch.set_num_threads(threads)
    try:
        _work(paths, folder, lambda text: None)
    except StoppedError:
        return


def _threads(workers: int) -> int:
    return max(1, (os.cpu_count() or 1) // workers)
