"""Runs that are stopped and go on, and what must be the same afterwards."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.errors import StoppedError
from lorasmith.events import Emit, Event, StepDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train

QUICK_PICTURES = {"count": 1, "steps": 1}
"""Validation options that make the model card's pictures quick."""


def in_folder(config: TrainConfig, folder: Path) -> TrainConfig:
    """The same run somewhere else, its exports named alike."""
    output = config.output.model_copy(update={"folder": folder, "name": "concept"})
    return config.model_copy(update={"output": output})


def train_with_stops(config: TrainConfig, stops: Sequence[int]) -> RunFolder:
    """Train, stop after each of the steps and go on, to the end."""
    folder = config.output.folder
    first, *others = stops
    stop = StopSignal()
    with pytest.raises(StoppedError, match=f"stopped after step {first} of"):
        train(config, stop=stop, emit=asking_after(first, stop))
    for step in others:
        stop = StopSignal()
        with pytest.raises(StoppedError, match=f"stopped after step {step} of"):
            resume(folder, stop=stop, emit=asking_after(step, stop))
    resume(folder)
    return RunFolder(folder)


def assert_same_result(run: RunFolder, uninterrupted: RunFolder) -> None:
    """Every byte of the exports and of the last checkpoint, and every number on the way there."""
    last = uninterrupted.checkpoint_folder(uninterrupted.last_step()).relative_to(uninterrupted.path)
    for folder in (Path("export"), Path("samples"), last):
        assert_same_bytes(run.path / folder, uninterrupted.path / folder)
    assert metrics_of(run) == metrics_of(uninterrupted)


def assert_same_bytes(folder: Path, other: Path) -> None:
    """The same files with the same bytes."""
    contents = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (folder, other)
    ]
    assert contents[0].keys() == contents[1].keys()
    assert contents[0], f"{folder} is empty"
    assert [name for name, content in contents[0].items() if content != contents[1][name]] == []


def metrics_of(run: RunFolder) -> list[dict[str, Any]]:
    """The metrics without what a clock said."""
    records: list[dict[str, Any]] = [json.loads(line) for line in run.metrics_file.read_text().splitlines()]
    return [{name: value for name, value in one.items() if name not in ("time", "seconds")} for one in records]


def starts_of(run: RunFolder) -> list[int]:
    """The steps at which the run began and went on."""
    records = [json.loads(line) for line in run.events_file.read_text().splitlines()]
    return [record["step"] for record in records if record["event"] == "RunStarted"]


def asking_after(step: int, stop: StopSignal) -> Emit:
    """A listener that asks the run to stop after a step."""

    def listen(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            stop.ask()

    return listen
