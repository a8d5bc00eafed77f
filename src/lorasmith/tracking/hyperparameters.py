"""Owns what a tracker is told of a config: no path, no name of the machine or its user, nothing that looks secret."""

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from lorasmith.config.flags import as_text, flatten
from lorasmith.config.train import TrainConfig
from lorasmith.tracking.concealing import without_secrets
from lorasmith.tracking.tracker import Hyperparameter


def hyperparameters(config: TrainConfig) -> dict[str, Hyperparameter]:
    """Every option that is not a path, by its dotted name; of a base on this machine only its own name."""
    told = dict(_told(config))
    return {name: without_secrets(value) if isinstance(value, str) else value for name, value in told.items()}


def _told(config: TrainConfig) -> Iterator[tuple[str, Hyperparameter]]:
    for name, value in flatten(config):
        match value:
            case Path():
                continue
            case bool() | int() | float():
                yield name, value
            case str() if _is_on_this_machine(value):
                yield name, PureWindowsPath(value).name  # knows both kinds of slashes
            case _:
                yield name, as_text(value)


def _is_on_this_machine(text: str) -> bool:
    if text.startswith(("~", "/", ".")) or PureWindowsPath(text).is_absolute():
        return True
    return "/" in text and len(text) < 1000 and Path(text).exists()
