"""Owns which trackers a run has: finds those that are installed and puts them together; starts none."""

import importlib.util
import os
from collections.abc import Collection, Generator
from contextlib import contextmanager
from pathlib import Path

from lorasmith.config.tracking import ALL_INSTALLED, TRACKERS
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import Emit, ignore
from lorasmith.run_folder import RunFolder
from lorasmith.tracking.hyperparameters import hyperparameters
from lorasmith.tracking.listener import TrackedRun, TrackerListener
from lorasmith.tracking.rows import TrackerMemory
from lorasmith.tracking.tracker import Tracker

_OPTION = "tracking.report_to"


def trackers_of(config: TrainConfig) -> dict[str, Tracker]:
    """The trackers that the config asks for, by name; ConfigError for one that is not installed."""
    folder = RunFolder(config.output.folder)
    files = folder.path / config.tracking.folder.expanduser()
    trackers: dict[str, Tracker] = {}
    for name in _names(config.tracking.report_to):
        with _naming_the_extra(name):
            trackers[name] = _tracker(name, files, TrackerMemory(folder.tracking / f"{name}.json"))
    return trackers


def tracking(config: TrainConfig, parts: Collection[str], tell: Emit) -> Emit:
    """An `emit` that shows the run in its trackers; `parts` are all that train at some time in it."""
    trackers = trackers_of(config)
    if not trackers:
        return ignore
    name = config.output.name or config.output.folder.name
    run = TrackedRun(name, config.tracking.project, hyperparameters(config), parts)
    return TrackerListener(run, trackers, tell=tell)


def _names(asked: Collection[str]) -> tuple[str, ...]:
    if ALL_INSTALLED not in asked:
        return tuple(asked)
    found = tuple(name for name in TRACKERS if importlib.util.find_spec(name))
    if not found:
        raise ConfigError(
            "all trackers that are installed were asked for, and none is",
            where=_OPTION,
            remedy="Install some: `pip install 'lorasmith[trackers]'`.",
        )
    return (*found, *(name for name in asked if name not in (*found, ALL_INSTALLED)))


def _tracker(name: str, files: Path, memory: TrackerMemory) -> Tracker:
    # The trackers are extras: each is imported only where it was asked for.
    match name:
        case "tensorboard":
            from lorasmith.tracking.tensorboard_files import TensorBoardFiles

            return TensorBoardFiles(files / "tensorboard")
        case "wandb":
            from lorasmith.tracking.weights_and_biases import WeightsAndBiases

            return WeightsAndBiases(files, memory)  # makes a folder `wandb` there
        case "trackio":
            os.environ.setdefault("TRACKIO_DIR", str(files / "trackio"))  # read once, when it is imported
            from lorasmith.tracking.trackio_project import TrackioProject

            return TrackioProject(memory)
        case _:
            raise AssertionError(f"the config let {name!r} through")


@contextmanager
def _naming_the_extra(name: str) -> Generator[None]:
    """A missing package, or one that does not load beside the others, is told with the way to install it."""
    try:
        yield
    except ImportError as failure:
        extra = "trackio" if name == "trackio" else "trackers"
        raise ConfigError(
            f"the tracker {name} cannot be loaded: {failure}",
            where=_OPTION,
            remedy=f"Install it: `pip install 'lorasmith[{extra}]'`. Without it the run writes metrics.jsonl.",
        ) from failure
