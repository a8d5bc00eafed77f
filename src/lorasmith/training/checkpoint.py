# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""Owns checkpoints on disk: written beside and renamed in, hashed, pruned; knows no base and no picture.

No pickle: tensors in safetensors, numbers in JSON (Python writes floats so that they read back exactly).
"""

import errno
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.errors import DataError, ResourceError
from lorasmith.optim.part import OptimizerState
from lorasmith.training.state import TrainingState

SCHEMA_VERSION = 1
_WEIGHTS, _OPTIMIZER = "weights.safetensors", "optimizer.safetensors"
_NUMBERS, _MANIFEST = "state.json", "manifest.json"
_SEPARATOR = "/"
_NAME = re.compile(r"step-(\d{6,})")
_LEFTOVER = re.compile(r"\.step-\d{6,}\.(partial|pruned|replaced)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class CheckpointStore:
    """The checkpoints of one run, `step-000400` and so on, of which the newest `keep` stay, and the `candidates`."""

    folder: Path
    keep: int
    candidates: frozenset[int] = frozenset()

    def write(self, state: TrainingState, facts: dict[str, str]) -> Path:
        """Write a checkpoint whole, then let go of the oldest ones. `facts` are compared on resume.

        Raises ResourceError when the disk is full; what was there before stays as it was.
        """
        final = self.folder / f"step-{state.step:06d}"
        partial = self.folder / f".{final.name}.partial"
        try:
            self._write_beside(partial, state, facts)
            _replace_folder(partial, final)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            raise _disk_error(error, final, state) from error
        self._prune(state.step)
        return final

    def newest(self, tell: Callable[[str], None] = _log.warning) -> tuple[TrainingState, dict[str, str]] | None:
        """The newest checkpoint that is whole; damaged ones are passed over, and `tell` is told of each.

        Raises DataError when it is whole but of another schema version.
        """
        for folder in reversed(self.folders()):
            damage = damage_of(folder)
            if damage is None:
                return read_checkpoint(folder)
            tell(f"the checkpoint {folder.name} is damaged ({damage}) and is passed over for the one before it")
        return None

    def folders(self) -> list[Path]:
        """All checkpoint folders, oldest first (by step, never by clock)."""
        found = self.folder.iterdir() if self.folder.is_dir() else ()
        return sorted((path for path in found if _NAME.fullmatch(path.name)), key=_step_of)

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

    def _prune(self, newest: int) -> None:
        """Let go of all but the newest. What lies beyond `newest` was damaged, else the run had gone on from it."""
        up_to_newest = [folder for folder in self.folders() if _step_of(folder) <= newest]
        kept = up_to_newest[-self.keep :] + [one for one in up_to_newest if _step_of(one) in self.candidates]
        try:
            for folder in [folder for folder in self.folders() if folder not in kept]:
                # Renamed first, so that a kill in the middle never leaves half a checkpoint under a valid name.
                folder.rename(_emptied(folder.with_name(f".{folder.name}.pruned")))
            for leftover in self.folder.iterdir():
                if _LEFTOVER.fullmatch(leftover.name):
                    shutil.rmtree(leftover, ignore_errors=True)
        except OSError as error:
            _log.warning("old checkpoints could not be removed: %s (%s)", error.strerror, self.folder)


def damage_of(folder: Path) -> str | None:
    """What is wrong with a checkpoint's files, by its manifest of hashes; None when all are there and as written."""
    try:
        hashes: Any = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"{_MANIFEST} is missing or not readable"
    if not isinstance(hashes, dict) or _NUMBERS not in hashes:
        return f"{_MANIFEST} does not name its files"
    files = cast(dict[str, object], hashes)
    wrong = [name for name, wanted in sorted(files.items()) if _hash_or_none(folder / name) != wanted]
    return f"{', '.join(wrong)} missing or not as written" if wrong else None


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


def _step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def _replace_folder(partial: Path, final: Path) -> None:
    if final.exists():  # the same step again, after a resume from an older checkpoint
        final.rename(_emptied(final.with_name(f".{final.name}.replaced")))
    partial.rename(final)
    _sync(final.parent)


def _emptied(path: Path) -> Path:
    """A path that nothing is at any more: a kill may have left something there."""
    shutil.rmtree(path, ignore_errors=True)
    return path


def _hash_or_none(path: Path) -> str | None:
    try:
        return _hash(path)
    except OSError:
        return None


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _disk_error(error: OSError | SafetensorError, final: Path, state: TrainingState) -> ResourceError:
    groups = [*state.weights.values(), *(saved.tensors for saved in state.optimizers.values())]
    wanted = sum(tensor.nbytes for group in groups for tensor in group.values())
    return ResourceError(
        f"the checkpoint {final.name} ({wanted:,} bytes) could not be written: {_reason(error)}",
        where=str(final.parent),
        remedy="Free some space and go on with `lorasmith train --resume`; the checkpoints before it are whole.",
    )


def _reason(error: OSError | SafetensorError) -> str:
    """Why a file could not be written. safetensors tells it in words alone: "… (os error 28)"."""
    said = re.search(r"\(os error (\d+)\)", str(error))
    number = error.errno if isinstance(error, OSError) else int(said.group(1)) if said else None
    if number in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full"
    return os.strerror(number) if number else str(error)
