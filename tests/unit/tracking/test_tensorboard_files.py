# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportAttributeAccessIssue=false
# TensorBoard is not typed.
"""Real event files, read back with TensorBoard's own reader."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.summary.writer.record_writer import RecordWriter

from lorasmith.events import Event, Notice, RunEnded, RunStarted, StepDone
from lorasmith.tracking.listener import TrackedRun, TrackerListener
from lorasmith.tracking.tensorboard_files import TensorBoardFiles
from lorasmith.tracking.tracker import Picture, RunFacts

FACTS = RunFacts("wolf", "wolves", {"adapter.rank": 4, "model.base": "a|b <i>", "schedule.steps": "none"}, 0, False)


def read(folder: Path) -> Any:
    """Everything in a folder of event files, as TensorBoard shows it."""
    events = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0, "tensors": 0})
    events.Reload()
    return events


def points(folder: Path, tag: str) -> list[tuple[int, float]]:
    """A curve."""
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def test_numbers_are_scalars_and_the_config_is_text_and_hyperparameters(tmp_path: Path) -> None:
    tracker = TensorBoardFiles(tmp_path)
    tracker.start(FACTS)
    tracker.numbers(1, {"train/loss": 0.5, "rate/denoiser": 1e-4})
    tracker.numbers(2, {"train/loss": 0.25})
    tracker.finish("done")
    assert points(tmp_path / "wolf", "train/loss") == [(1, 0.5), (2, 0.25)]
    assert points(tmp_path / "wolf", "rate/denoiser") == [(1, pytest.approx(1e-4))]
    (text,) = read(tmp_path / "wolf").Tensors("config/text_summary")
    assert "| `model.base` | a\\|b &lt;i> |" in text.tensor_proto.string_val[0].decode()
    content = read(tmp_path / "wolf").summary_metadata["_hparams_/session_start_info"].plugin_data.content
    told = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert told["adapter.rank"].number_value == 4
    assert told["schedule.steps"].string_value == "none"
    assert [path.name for path in tmp_path.iterdir()] == ["wolf"]


def test_pictures_are_images_with_the_same_pixels_under_their_prompts(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    tracker = TensorBoardFiles(tmp_path)
    tracker.start(FACTS)
    tracker.pictures(4, [Picture(tmp_path / "a.png", "a TOK/dog\n" + "x" * 500)])
    tracker.finish("done")
    (tag,) = read(tmp_path / "wolf").Tags()["images"]
    assert tag.startswith("samples/00 a TOK∕dog xxx")
    assert len(tag) <= 120
    (image,) = read(tmp_path / "wolf").Images(tag)
    assert image.step == 4
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(image.encoded_image_string))), noise)


def test_steps_that_a_crashed_run_had_logged_are_replaced_by_those_of_the_run_that_goes_on(tmp_path: Path) -> None:
    crashed = TensorBoardFiles(tmp_path)
    crashed.start(FACTS)
    for step in range(1, 7):
        crashed.numbers(step, {"train/loss": float(step)})
    crashed.finish("failed")
    going_on = TensorBoardFiles(tmp_path)
    going_on.start(RunFacts("wolf", "wolves", {}, first=4, resumed=True))
    for step in range(5, 9):
        going_on.numbers(step, {"train/loss": float(10 * step)})
    going_on.finish("done")
    expected = [(1, 1), (2, 2), (3, 3), (4, 4), (5, 50), (6, 60), (7, 70), (8, 80)]
    assert points(tmp_path / "wolf", "train/loss") == expected


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "C:\\wolf"])
def test_a_runs_name_does_not_lead_out_of_the_folder(tmp_path: Path, name: str) -> None:
    tracker = TensorBoardFiles(tmp_path / "tensorboard")
    tracker.start(RunFacts(name, "wolves", {}, 0, False))
    tracker.finish("done")
    (made,) = tmp_path.rglob("events.out.*")
    assert made.parent.parent == tmp_path / "tensorboard"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # of TensorBoard's own thread
def test_a_full_disk_ends_tensorboard_with_one_notice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Event] = []
    run = TrackedRun("wolf", "wolves", {}, ["denoiser"])
    listener = TrackerListener(run, {"tensorboard": TensorBoardFiles(tmp_path)}, tell=told.append)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    listener(RunStarted(0, 5, None, resumed=False))
    for step in range(1, 50):
        listener(StepDone(step, 0.1, 0.1, None, {}, {}, 0.1))
    listener(RunEnded(50, "done"))
    (notice,) = told
    assert isinstance(notice, Notice)
    assert "tensorboard shows no more of this run: OSError: [Errno 28] No space left" in notice.text
