"""Owns the script's `--resume_from_checkpoint`: the same command line again goes on with its run, or begins it."""

import re
from pathlib import Path

from pydantic import SecretStr

from lorasmith.config.flags import as_text, flatten
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import Emit, Notice
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stored_config import read_config
from lorasmith.runs.train import resume, train, with_absolute_paths

_FLAG = "--resume_from_checkpoint"
# What belongs to the folder, and what a run finds out for itself when it begins.
_NOT_COMPARED = frozenset({"recipe", "output.folder", "output.name", "data.dataset_revision"})


def go_on_or_train(
    config: TrainConfig,
    checkpoint: str,
    *,
    origins: dict[str, str],
    emit: Emit,
    hub_token: SecretStr | None = None,
) -> Path:
    """Go on with the run in the config's folder, or with `latest` begin it when there is none; the run folder.

    Raises ConfigError when the run there was started with other options, or its newest checkpoint is another one.
    """
    config = with_absolute_paths(config)
    folder = RunFolder(config.output.folder)
    if folder.config_file.is_file() and folder.checkpoint_steps():
        _refuse_other_options(config, read_config(folder), folder)
        _refuse_other_checkpoint(checkpoint, folder)
        return resume(folder.path, emit=emit)
    if checkpoint != "latest":
        raise ConfigError(
            f"there is no checkpoint {checkpoint!r} in {folder.path}", where=_FLAG,
            remedy="Say `latest` to begin the run when there is none to go on with.",
        )  # fmt: skip
    emit(Notice(f"{_FLAG} latest: there is no checkpoint in {folder.path}; a new run begins."))
    return train(config, origins=origins, emit=emit, hub_token=hub_token)


def _refuse_other_options(said: TrainConfig, stored: TrainConfig, folder: RunFolder) -> None:
    """A resumed run has its own options: saying others would be believed and not done."""
    then, now = dict(flatten(stored)), dict(flatten(said))
    changed = [
        f"{path} was {as_text(then.get(path))} and is {as_text(now.get(path))}"
        for path in sorted(then.keys() | now.keys())
        if path not in _NOT_COMPARED and then.get(path) != now.get(path)
    ]
    if changed:
        raise ConfigError(
            f"the run in {folder.path} was started with other options: {'; '.join(changed)}", where=_FLAG,
            remedy=f"Go on with its own: `lorasmith train --resume {folder.path}`; or begin another in another folder.",
        )  # fmt: skip


def _refuse_other_checkpoint(checkpoint: str, folder: RunFolder) -> None:
    """`latest`, or the newest one's name, as `checkpoint-400`, `step-000400` or a path that ends so."""
    newest = folder.checkpoint_steps()[-1]
    number = re.search(r"(\d+)/?$", checkpoint)
    if checkpoint != "latest" and (number is None or int(number.group(1)) != newest):
        raise ConfigError(
            f"{checkpoint!r} is not the newest checkpoint in {folder.path}, which is after step {newest}", where=_FLAG,
            remedy="Say `latest`; to go back, copy the run folder and remove its newer checkpoints.",
        )  # fmt: skip
