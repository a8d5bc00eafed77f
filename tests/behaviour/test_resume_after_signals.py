"""Runs as processes of their own, ended by signals at moments nobody chose, go on to the same bytes."""

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from resuming import assert_same_result, metrics_of, starts_of

from lorasmith.config.load import load_arguments
from lorasmith.run_folder import RunFolder, read_records
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.testing import pictures
from lorasmith.training.checkpoint import CheckpointStore

STEPS, ACCUMULATION = 10, 3
TIMEOUT_S = 600

LORASMITH = "from lorasmith.cli.app import main; import sys; main(sys.argv[1:])"
KILLED_BETWEEN_MICRO_STEPS = f"""
import os, signal
from lorasmith.training import loop

whole_micro_step = loop._micro_step

def micro_step(training, index):
    if (training.step, index) == (6, {ACCUMULATION - 1}):
        os.kill(os.getpid(), signal.SIGKILL)
    return whole_micro_step(training, index)

loop._micro_step = micro_step
{LORASMITH}
"""
STUCK_IN_STEP_6 = f"""
import time
from lorasmith.training import loop

whole_micro_step = loop._micro_step

def micro_step(training, index):
    if training.step == 5:
        time.sleep({2 * TIMEOUT_S})
    return whole_micro_step(training, index)

loop._micro_step = micro_step
{LORASMITH}
"""

Words = Callable[[Path], list[str]]
"""The command line of the run, in some folder."""


@pytest.fixture(scope="module")
def words(tiny_base: Path, tmp_path_factory: pytest.TempPathFactory) -> Words:
    folder = tmp_path_factory.mktemp("signals")
    pictures(folder / "pictures", 4, captions=["a photo of TOK", "TOK in red", "a TOK"])
    options = {
        "model.base": tiny_base,
        "data.instance-images": folder / "pictures",
        "data.resolution": 32,
        "data.crop": "random",
        "adapter.rank": 2,
        "adapter.dropout": 0.2,
        "optimizer": "prodigy",
        "optimizer.d0": 1e-4,
        "schedule.steps": STEPS,
        "schedule.batch-size": 1,
        "schedule.gradient-accumulation": ACCUMULATION,
        "checkpoint.every": 2,
        "validation.steps": 1,
        "validation.count": 1,
        "output.name": "concept",
    }
    said = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    return lambda run: ["train", *said, "--output.folder", str(run)]


@pytest.fixture(scope="module")
def uninterrupted(words: Words, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    return RunFolder(train(load_arguments(words(folder)[1:]).config))


def start(script: str, words: Sequence[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def ending_of(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, talk = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, talk


def wait_for_step(run: RunFolder, step: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + TIMEOUT_S
    while len(read_records(run.metrics_file)) < step:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < end, f"step {step} was not reached in {TIMEOUT_S} s"
        time.sleep(0.02)


def test_a_run_killed_between_two_passes_of_one_step_goes_on_to_the_same_bytes(
    words: Words, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    run = RunFolder(tmp_path / "run")
    code, _ = ending_of(start(KILLED_BETWEEN_MICRO_STEPS, words(run.path)))
    assert code == -signal.SIGKILL
    assert len(metrics_of(run)) == 6
    code, talk = ending_of(start(LORASMITH, ["train", "--resume", str(run.path)]))
    assert code == 0, talk
    assert starts_of(run) == [0, 6]
    assert_same_result(run, uninterrupted)


def test_a_run_killed_at_a_random_moment_goes_on_to_the_same_bytes(
    words: Words, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    run, process = RunFolder(tmp_path / "run"), start(LORASMITH, words(tmp_path / "run"))
    chance = random.Random()
    wait_for_step(run, chance.randrange(1, STEPS - 1), process)
    time.sleep(chance.random() / 10)
    process.kill()
    assert ending_of(process)[0] == -signal.SIGKILL
    resume(run.path)
    assert_same_result(run, uninterrupted)


def test_a_run_asked_to_end_finishes_its_step_and_leaves_with_75(
    words: Words, uninterrupted: RunFolder, tmp_path: Path
) -> None:
    run, process = RunFolder(tmp_path / "run"), start(LORASMITH, words(tmp_path / "run"))
    wait_for_step(run, 3, process)
    process.terminate()
    code, talk = ending_of(process)
    assert code == 75
    assert "Traceback" not in talk
    assert f"lorasmith train --resume {run.path}" in talk.replace("\n", " ")
    stopped_at = run.last_step()
    assert 3 <= stopped_at < STEPS
    assert run.checkpoint_steps()[-1] == stopped_at, "the step it was in is kept"
    resume(run.path)
    assert starts_of(run) == [0, stopped_at]
    assert_same_result(run, uninterrupted)


def test_a_second_ctrl_c_leaves_at_once_and_nothing_written_is_lost(words: Words, tmp_path: Path) -> None:
    run, process = RunFolder(tmp_path / "run"), start(STUCK_IN_STEP_6, words(tmp_path / "run"))
    wait_for_step(run, 5, process)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    time.sleep(1)
    assert process.poll() is None, "the first one waits for the step to end"
    process.send_signal(signal.SIGINT)
    code, _ = ending_of(process)
    assert code not in (0, 75)
    assert run.state() == "unfinished"
    newest = CheckpointStore(run.checkpoints, keep=2).newest()
    assert newest is not None
    assert newest[0].step == 4


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_and_the_second_does_what_it_does_to_any_program(number: signal.Signals) -> None:
    before, stop = signal.getsignal(number), StopSignal()
    with stop.listening():
        assert not stop.is_set()
        signal.raise_signal(number)
        assert stop.is_set()
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(number) is before
