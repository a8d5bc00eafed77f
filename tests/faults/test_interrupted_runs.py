"""Full disks, changed pictures and two runs in one folder: what is refused, and what can still go on."""

# safetensors is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.errors import BusyError, ConfigError, DataError, ResourceError, StoppedError
from lorasmith.events import Event, ExportWritten, Notice, RunEnded, StepDone
from lorasmith.export import write
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.sizes import Size
from lorasmith.testing import pictures, tiny_pipeline
from lorasmith.training import checkpoint

STEPS = 4


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base of this module's own, since one test changes it."""
    return tiny_pipeline(tmp_path_factory.mktemp("base"), layers_per_block=1)


def config_in(root: Path, base: Path, **sections: dict[str, Any]) -> TrainConfig:
    if not (root / "pictures").exists():
        pictures(root / "pictures", 2, captions=["a photo of TOK", "TOK in red"])
    plain: dict[str, dict[str, Any]] = {
        "model": {"base": str(base)},
        "data": {"instance_images": root / "pictures", "cache_folder": root / "latents", "resolution": 32},
        "adapter": {"rank": 2},
        "optimizer": {"name": "adamw", "learning_rate": 1e-2},
        "schedule": {"steps": STEPS, "batch_size": 1},
        "checkpoint": {"every": 2},
        "validation": {"steps": 1, "count": 1},
        "output": {"folder": root / "run", "name": "concept"},
    }
    return TrainConfig.model_validate({name: {**plain[name], **sections.get(name, {})} for name in plain})


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run that nothing happened to."""
    return RunFolder(train(config_in(tmp_path_factory.mktemp("finished"), base)))


@pytest.fixture(scope="module")
def stopped(base: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run stopped after its third step, never to be touched: tests take copies."""
    stop = StopSignal()
    root = tmp_path_factory.mktemp("stopped")

    def ask(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 3:
            stop.ask()

    with pytest.raises(StoppedError):
        train(config_in(root, base), stop=stop, emit=ask)
    return RunFolder(root / "run")


def copy_of(run: RunFolder, root: Path) -> RunFolder:
    """The run and its pictures somewhere else; its config names them there."""
    shutil.copytree(run.path.parent, root, dirs_exist_ok=True)
    copied = RunFolder(root / "run")
    told = copied.config_file.read_text()
    copied.config_file.write_text(told.replace(str(run.path.parent), str(root)))
    return copied


def exports_of(run: RunFolder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.export.iterdir()}


def full_disk() -> OSError:
    return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failing_on_call(real: Callable[..., Any], number: int) -> Callable[..., Any]:
    """`real`, whose `number`-th call finds the disk full."""
    calls = iter(range(1, 1000))

    def call(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            raise full_disk()
        return real(*arguments, **options)

    return call


def test_a_run_whose_checkpoint_found_the_disk_full_goes_on_to_the_same_bytes(
    base: Path, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = list[Event]()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "save_file", failing_on_call(checkpoint.save_file, 4))  # two files a checkpoint
        with pytest.raises(ResourceError, match=r"step-000004 \([\d,]+ bytes\) could not be written: the disk is full"):
            train(config_in(tmp_path, base), emit=events.append)
    assert ResourceError.exit_code == 4
    assert isinstance(events[-1], RunEnded)
    assert events[-1].reason == "failed"
    run = RunFolder(tmp_path / "run")
    assert (run.state(), run.checkpoint_steps()) == ("unfinished", (2,))
    resume(run.path)
    assert exports_of(run) == exports_of(finished)


def test_exports_that_found_the_disk_full_are_finished_later_without_training_again(
    base: Path, finished: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(write, "write_bytes", failing_in_export(write.write_bytes, "concept.safetensors"))
        with pytest.raises(ResourceError, match=r"concept\.safetensors needs [\d,]+ bytes"):
            train(config_in(tmp_path, base))
    run = RunFolder(tmp_path / "run")
    assert run.state() == "unfinished"
    assert [path.name for path in run.export.iterdir()] == ["pytorch_lora_weights.safetensors"]
    weights, events = read_weights(run), list[Event]()
    resume(run.path, emit=events.append)
    assert not [event for event in events if isinstance(event, StepDone)]
    assert len([event for event in events if isinstance(event, ExportWritten)]) == 5
    assert read_weights(run) == weights
    assert exports_of(run) == exports_of(finished)
    assert run.state() == "finished"


def failing_in_export(real: Callable[[Path, bytes], None], name: str) -> Callable[[Path, bytes], None]:
    def write_bytes(path: Path, content: bytes) -> None:
        if path.name == name:
            raise ResourceError(f"the disk is full: could not write {path}")
        real(path, content)

    return write_bytes


def read_weights(run: RunFolder) -> bytes:
    return (run.checkpoint_folder(STEPS) / "weights.safetensors").read_bytes()


def test_a_full_event_log_does_not_hide_why_a_run_ended(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopSignal()

    def ask_and_fill_the_disk(event: Event) -> None:
        if isinstance(event, StepDone):
            stop.ask()
        if isinstance(event, RunEnded):
            raise ResourceError("the disk is full")

    with pytest.raises(StoppedError):
        train(config_in(tmp_path, base), stop=stop, emit=ask_and_fill_the_disk)


def test_a_damaged_checkpoint_is_told_to_whoever_resumes(
    stopped: RunFolder, finished: RunFolder, tmp_path: Path
) -> None:
    run, events = copy_of(stopped, tmp_path), list[Event]()
    weights = run.checkpoint_folder(3) / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    resume(run.path, emit=events.append)
    (notice,) = [event for event in events if isinstance(event, Notice) and "damaged" in event.text]
    assert "step-000003" in notice.text
    assert "step-000003" in run.events_file.read_text(), "the run folder remembers it"
    assert [event.step for event in events if isinstance(event, StepDone)] == [3, 4]
    assert exports_of(run) == exports_of(finished)


def _another_picture(run: RunFolder) -> None:
    (path,) = pictures(run.path.parent / "other", 1, size=Size(40, 40))
    path.rename(run.path.parent / "pictures" / "picture-000.png")


def _another_caption(run: RunFolder) -> None:
    (run.path.parent / "pictures" / "picture-001.txt").write_text("TOK in blue")


def _one_more(run: RunFolder) -> None:
    pictures_folder = run.path.parent / "pictures"
    shutil.copy(pictures_folder / "picture-000.png", pictures_folder / "picture-007.png")
    (pictures_folder / "picture-007.txt").write_text("TOK")


def _one_less(run: RunFolder) -> None:
    (run.path.parent / "pictures" / "picture-001.png").unlink()
    (run.path.parent / "pictures" / "picture-001.txt").unlink()


def _another_base(run: RunFolder) -> None:
    config = json.loads(run.config_file.read_text())
    config["model"]["base"] = str(tiny_pipeline(run.path.parent / "other-base", layers_per_block=1, seed=1))
    run.config_file.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (_another_picture, "changed: instance picture-000.png"),
        (_another_caption, "changed: instance picture-001.png"),
        (_one_more, "new: instance picture-007.png"),
        (_one_less, "gone: instance picture-001.png"),
        (_another_base, "changed: base, vae, text_encoders, denoiser"),
    ],
)
def test_a_run_whose_pictures_captions_or_base_changed_is_refused_with_the_difference(
    stopped: RunFolder, tmp_path: Path, change: Callable[[RunFolder], None], told: str
) -> None:
    run = copy_of(stopped, tmp_path)
    change(run)
    with pytest.raises(DataError) as refused:
        resume(run.path)
    assert f"what it trains on is not what it was ({told})" in str(refused.value)
    assert run.checkpoint_steps() == (2, 3)
    assert not run.export.exists()


def test_a_folder_in_use_has_one_owner(base: Path, finished: RunFolder, tmp_path: Path) -> None:
    config, refusals = config_in(tmp_path, base), list[int]()

    def try_to_take_it(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 3:
            for attempt in (lambda: train(config), lambda: resume(config.output.folder)):
                with pytest.raises(BusyError, match=f"{os.getpid()}"):
                    attempt()
                refusals.append(event.step)

    run = RunFolder(train(config, emit=try_to_take_it))
    assert refusals == [3, 3]
    assert BusyError.exit_code == 7
    assert exports_of(run) == exports_of(finished)


def test_a_finished_run_is_neither_trained_again_nor_gone_on_with(base: Path, finished: RunFolder) -> None:
    before = exports_of(finished)
    with pytest.raises(ConfigError, match="holds a finished run"):
        train(config_in(finished.path.parent, base))
    with pytest.raises(ConfigError, match="is finished"):
        resume(finished.path)
    assert exports_of(finished) == before


def test_a_stopped_run_is_not_started_over_by_mistake(base: Path, stopped: RunFolder) -> None:
    with pytest.raises(ConfigError, match=r"unfinished run \(at step 3\).*--resume"):
        train(config_in(stopped.path.parent, base))
    assert stopped.checkpoint_steps() == (2, 3)


def test_resuming_where_there_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run in"):
        resume(tmp_path)
    assert list(tmp_path.iterdir()) == []
