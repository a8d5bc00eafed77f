# pyright: reportUnknownMemberType=false
"""Owns checkpoints on disk: written beside and renamed in, hashed, pruned; knows no base and no picture.

No pickle: tensors in safetensors, numbers in JSON (Python writes floats so that they read back exactly).
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.errors import DataError, ResourceError
from lorasmith.optim.part import OptimizerState
from lorasmith.training.state import TrainingState

SCHEMA_VERSION = 1
_WEIGHTS, _OPTIMIZER, _NUMBERS, _MANIFEST = "weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json"
_SEPARATOR = "/"


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run, `step-000400` and so on, of which the newest `keep` stay."""

    folder: Path
    keep: int

    def write(self, state: TrainingState, facts: dict[str, str]) -> Path:
        """Write a checkpoint whole, then let go of the oldest ones. `facts` are compared on resume.

        Raises ResourceError when the disk is full; what was there before stays as it was.
        """
        final = self.folder / f"step-{state.step:06d}"
        partial = self.folder / f".{final.name}.partial"
        try:
            self._write_beside(partial, state, facts)
            _replace_folder(partial, final)
        except OSError as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise _disk_error(error, final, state) from error
        self._prune()
        return final

    def newest(self) -> tuple[TrainingState, dict[str, str]] | None:
        """The newest checkpoint that is whole; torn ones are passed over."""
        for folder in reversed(self.folders()):
            if is_whole(folder):
                return read_checkpoint(folder)
        return None

    def folders(self) -> list[Path]:
        """All checkpoint folders, oldest first (by step, never by clock)."""
        return sorted(self.folder.glob("step-*"), key=lambda folder: int(folder.name.removeprefix("step-")))

    def _write_beside(self, partial: Path, state: TrainingState, facts: dict[str, str]) -> None:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        save_file(_flatten(state.weights), partial / _WEIGHTS)
        save_file(_flatten({name: saved.tensors for name, saved in state.optimizers.items()}), partial / _OPTIMIZER)
        numbers = {
            "version": SCHEMA_VERSION,
            "step": state.step,
            "facts": facts,
            "optimizers": {name: saved.numbers for name, saved in state.optimizers.items()},
            "scaler": state.scaler,
        }
        (partial / _NUMBERS).write_text(json.dumps(numbers, indent=1), encoding="utf-8")
        hashes = {name: _hash(partial / name) for name in (_WEIGHTS, _OPTIMIZER, _NUMBERS)}
        (partial / _MANIFEST).write_text(json.dumps(hashes, indent=1), encoding="utf-8")
        for path in [*partial.iterdir(), partial]:
            _sync(path)

    def _prune(self) -> None:
        for folder in self.folders()[: -self.keep]:
            # Renamed first, so that a kill in the middle never leaves half a checkpoint under a valid name.
            doomed = folder.with_name(f".{folder.name}.pruned")
            folder.rename(doomed)
            shutil.rmtree(doomed, ignore_errors=True)


def is_whole(folder: Path) -> bool:
    """Whether every file is there and hashes to what the manifest says."""
    try:
        hashes: dict[str, str] = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return all(_hash(folder / name) == wanted for name, wanted in hashes.items())
    except (OSError, ValueError):
        return False


def read_checkpoint(folder: Path) -> tuple[TrainingState, dict[str, str]]:
    """A checkpoint's state and facts."""
    numbers: dict[str, Any] = json.loads((folder / _NUMBERS).read_text(encoding="utf-8"))
    if numbers["version"] != SCHEMA_VERSION:
        raise DataError(
            f"the checkpoint {folder.name} has schema version {numbers['version']}, and this lorasmith reads "
            f"{SCHEMA_VERSION}",
            where=str(folder),
            remedy="Resume it with the lorasmith that wrote it (see environment.json in the run folder).",
        )
    tensors = _unflatten(load_file(folder / _OPTIMIZER))
    state = TrainingState(
        step=numbers["step"],
        weights=_unflatten(load_file(folder / _WEIGHTS)),
        optimizers={
            name: OptimizerState(tensors.get(name, {}), saved) for name, saved in numbers["optimizers"].items()
        },
        scaler=numbers["scaler"],
    )
    return state, numbers["facts"]


def _flatten(nested: dict[str, dict[str, Tensor]]) -> dict[str, Tensor]:
    # Cloned, since a part's parameters are views into one buffer and safetensors wants each to own its memory.
    return {f"{outer}{_SEPARATOR}{inner}": tensor.detach().cpu().clone() for outer, inner, tensor in _entries(nested)}


def _entries(nested: dict[str, dict[str, Tensor]]) -> Iterator[tuple[str, str, Tensor]]:
    for outer, values in nested.items():
        for inner, tensor in values.items():
            yield outer, inner, tensor


def _unflatten(flat: dict[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    nested: dict[str, dict[str, Tensor]] = {}
    for key, tensor in flat.items():
        outer, inner = key.split(_SEPARATOR, 1)
        nested.setdefault(outer, {})[inner] = tensor
    return nested


def _replace_folder(partial: Path, final: Path) -> None:
    if final.exists():
        shutil.rmtree(final)  # the same step again, after a resume from an older checkpoint
    partial.rename(final)
    _sync(final.parent)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(error: OSError, final: Path, state: TrainingState) -> ResourceError:
    groups = [*state.weights.values(), *(saved.tensors for saved in state.optimizers.values())]
    wanted = sum(tensor.nbytes for group in groups for tensor in group.values())
    reason = "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else (error.strerror or str(error))
    return ResourceError(
        f"the checkpoint {final.name} ({wanted / 1e6:.0f} MB) could not be written: {reason}",
        where=str(final.parent),
        remedy="Free some space and go on with `lorasmith train --resume`; the checkpoints before it are whole.",
    )
