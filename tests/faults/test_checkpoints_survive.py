"""Whatever happens while a checkpoint is written, or to its files later, a whole one is what a run goes on from."""

# safetensors is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import errno
import json
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from lorasmith.errors import DataError, ResourceError
from lorasmith.optim.part import OptimizerState
from lorasmith.training import checkpoint
from lorasmith.training.checkpoint import CheckpointStore, damage_of, read_checkpoint
from lorasmith.training.state import TrainingState

FACTS = {"base": "tiny", "picture instance a.png": "0123"}
FILES = ("weights.safetensors", "optimizer.safetensors", "state.json", "manifest.json")


class PowerCut(BaseException):
    """Ends the process where it stands: nothing catches it, nothing is tidied up."""


class Disk:
    """Counts operations on files and lets one of them fail, with half of its work done; after a power cut all fail."""

    def __init__(self, *, fails_at: int, failure: Callable[[], BaseException]) -> None:
        self.operations = 0
        self._fails_at = fails_at
        self._failure = failure

    def strike(self) -> None:
        """Count an operation, or fail instead of it."""
        self.operations += 1
        failure = self._failure()
        if self.operations == self._fails_at or (self.operations > self._fails_at and isinstance(failure, PowerCut)):
            raise failure


@contextmanager
def on(disk: Disk) -> Generator[None]:
    """Send every file operation of a checkpoint's writing past the disk."""
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((Path, "mkdir"), (Path, "rename"), (os, "fsync"), (os, "rmdir"), (os, "unlink")):
            patch.setattr(owner, name, _striking(disk, getattr(owner, name)))
        patch.setattr(Path, "write_text", _halved_text(disk, Path.write_text))
        patch.setattr(checkpoint, "save_file", _halved_tensors(disk, checkpoint.save_file))
        yield


def _striking(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def operation(*arguments: Any, **options: Any) -> Any:
        disk.strike()
        return real(*arguments, **options)

    return operation


def _halved_text(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def write_text(path: Path, text: str, **options: Any) -> Any:
        real(path, text[: len(text) // 2], **options)
        disk.strike()
        return real(path, text, **options)

    return write_text


def _halved_tensors(disk: Disk, real: Callable[..., Any]) -> Callable[..., Any]:
    def save_file(tensors: dict[str, torch.Tensor], path: Path) -> None:
        real(tensors, path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        disk.strike()
        path.write_bytes(whole)

    return save_file


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def full_disk_as_safetensors_says_it() -> SafetensorError:
    return SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")


def state_at(step: int) -> TrainingState:
    rows = torch.full((2, 3), float(step))
    moments = {"exp_avg": rows / 2, "step": torch.tensor(float(step))}
    optimizer = OptimizerState(moments, {"state": {}, "group": {"d": step / 3}})
    return TrainingState(step, {"denoiser": {"down": rows}}, {"denoiser": optimizer}, scaler=None)


def assert_is_state_at(step: int, found: tuple[TrainingState, dict[str, str]] | None) -> None:
    assert found is not None
    state, facts = found
    wanted = state_at(step)
    assert (state.step, facts) == (step, FACTS)
    assert torch.equal(state.weights["denoiser"]["down"], wanted.weights["denoiser"]["down"])
    assert torch.equal(
        state.optimizers["denoiser"].tensors["exp_avg"], wanted.optimizers["denoiser"].tensors["exp_avg"]
    )
    assert state.optimizers["denoiser"].numbers == wanted.optimizers["denoiser"].numbers


def store_with(folder: Path, *steps: int, keep: int = 1) -> CheckpointStore:
    store = CheckpointStore(folder, keep)
    for step in steps:
        store.write(state_at(step), FACTS)
    return store


def flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("failure", [PowerCut, full_disk], ids=["power cut", "full disk"])
@pytest.mark.parametrize("damaged_before", [False, True], ids=["new step", "step done again"])
def test_a_fault_at_any_file_operation_leaves_a_whole_checkpoint(
    tmp_path: Path, failure: Callable[[], BaseException], damaged_before: bool
) -> None:
    operation, steps_found = 0, list[int]()
    while True:
        operation += 1
        disk = Disk(fails_at=operation, failure=failure)
        store = store_with(tmp_path / f"{operation}", 4)
        if damaged_before:
            store.write(state_at(8), FACTS)
            flip_a_bit(tmp_path / f"{operation}" / "step-000008" / "weights.safetensors")
            shutil.copytree(store_with(tmp_path / f"other-{operation}", 4).folders()[0], store.folder / "step-000004")
        try:
            with on(disk):
                store.write(state_at(8), FACTS)
        except (PowerCut, ResourceError):
            pass
        found = store.newest()
        assert found is not None
        assert_is_state_at(found[0].step, found)
        steps_found.append(found[0].step)
        store.write(state_at(12), FACTS)
        assert_is_state_at(12, store.newest())
        assert [path.name for path in store.folder.iterdir()] == ["step-000012"], "what a fault left behind is cleared"
        if disk.operations < operation:
            break
    assert operation > 12, "every operation of a write had its turn"
    assert steps_found == sorted(steps_found), "the new one counts from one operation on, and from there for good"
    assert set(steps_found) == {4, 8}


@pytest.mark.parametrize("failure", [full_disk, full_disk_as_safetensors_says_it])
def test_a_full_disk_names_the_place_and_the_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Callable[[], Exception]
) -> None:
    store = store_with(tmp_path, 4)

    def full(tensors: object, path: Path) -> None:
        raise failure()

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(ResourceError) as refused:
        store.write(state_at(8), FACTS)
    assert refused.value.exit_code == 4
    message = str(refused.value)
    assert "step-000008 (52 bytes) could not be written: the disk is full" in message
    assert str(tmp_path) in message
    assert "--resume" in message
    assert [path.name for path in tmp_path.iterdir()] == ["step-000004"]
    assert_is_state_at(4, store.newest())


def test_the_newest_few_are_kept(tmp_path: Path) -> None:
    store = store_with(tmp_path, 2, 4, 999_998, 1_000_000, keep=2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-1000000", "step-999998"]
    assert_is_state_at(1_000_000, store.newest())


def test_a_damaged_checkpoint_beyond_the_newest_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    store = store_with(tmp_path, 4, 8, keep=2)
    flip_a_bit(tmp_path / "step-000008" / "weights.safetensors")
    CheckpointStore(tmp_path, keep=1).write(state_at(6), FACTS)
    assert_is_state_at(6, store.newest())


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _say_nothing(path: Path) -> None:
    path.write_text("{}")


@pytest.mark.parametrize("damage", [flip_a_bit, _truncate, Path.unlink, _say_nothing])
@pytest.mark.parametrize("file", FILES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_said_so(
    tmp_path: Path, file: str, damage: Callable[[Path], None]
) -> None:
    store, told = store_with(tmp_path, 4, 8, keep=2), list[str]()
    damage(tmp_path / "step-000008" / file)
    assert_is_state_at(4, store.newest(told.append))
    assert len(told) == 1
    assert "step-000008 is damaged" in told[0]
    assert file in told[0] or file == "manifest.json", "what the manifest says wrongly, another file seems to have"


def test_damage_is_logged_where_nobody_else_listens(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = store_with(tmp_path, 4)
    flip_a_bit(tmp_path / "step-000004" / "state.json")
    with caplog.at_level("WARNING", logger="lorasmith"):
        assert store.newest() is None
    assert "step-000004 is damaged" in caplog.text


def test_a_checkpoint_of_another_schema_version_is_refused_and_not_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_with(tmp_path, 4, keep=2)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "SCHEMA_VERSION", 7)
        store.write(state_at(8), FACTS)
    with pytest.raises(DataError, match="step-000008 has schema version 7, and this lorasmith reads 1"):
        store.newest()


def test_other_files_among_checkpoints_are_left_alone(tmp_path: Path) -> None:
    store = store_with(tmp_path, 4)
    (tmp_path / "step-000004 (copy)").mkdir()
    (tmp_path / "step-notes.txt").write_text("mine")
    store.write(state_at(8), FACTS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000004 (copy)", "step-000008", "step-notes.txt"]


def test_checkpoints_that_cannot_be_removed_do_not_end_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store, rename = store_with(tmp_path, 4), Path.rename

    def forbidden(path: Path, target: Path) -> Path:
        if target.name.endswith(".pruned"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", forbidden)
    with caplog.at_level("WARNING", logger="lorasmith"):
        store.write(state_at(8), FACTS)
    assert "old checkpoints could not be removed: Permission denied" in caplog.text
    assert_is_state_at(8, store.newest())


def test_numbers_come_back_exactly(tmp_path: Path) -> None:
    """Python's shortest float text reads back as the same float, and tensors keep every bit."""
    odd = torch.tensor([1e-45, -0.0, 3.4e38, 1 / 3])
    optimizer = OptimizerState({"exp_avg": odd}, {"state": {"step": 3}, "group": {"d": 0.1 + 0.2, "k": 3}})
    store = CheckpointStore(tmp_path, keep=1)
    folder = store.write(TrainingState(1, {"a": {"b": odd}}, {"a": optimizer}, {"scale": 65536.0}), FACTS)
    state, _ = read_checkpoint(folder)
    assert state.weights["a"]["b"].numpy().tobytes() == odd.numpy().tobytes()
    assert state.optimizers["a"].numbers == optimizer.numbers
    assert state.scaler == {"scale": 65536.0}
    assert damage_of(folder) is None
    assert json.loads((folder / "state.json").read_text())["optimizers"]["a"]["group"]["d"] == 0.30000000000000004
