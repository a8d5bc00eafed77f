"""A run on a data set trains as one on the same pictures in a folder, and goes on with the commit it began with."""
# pyarrow is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from resuming import assert_same_result, in_folder, train_with_stops

from lorasmith.config.train import TrainConfig
from lorasmith.data import dataset
from lorasmith.data.dataset_hub import HubDataset
from lorasmith.data.dataset_rows import Location
from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Event, StepDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.testing import pictures

FIRST, SECOND = "1" * 40, "2" * 40


class MovingHub:
    """Stands for the hub: a folder for each commit, and main, which moves."""

    def __init__(self, path: Path) -> None:
        """Main is at the first commit; what the second has are other pictures."""
        self.path, self.main = path, FIRST
        write_table(path / FIRST, first=0)
        write_table(path / SECOND, first=4)

    def pinned_commit(self, asked: HubDataset) -> str:
        """The commit that is asked for, or else main's."""
        return asked.revision or self.main

    def download(self, asked: HubDataset, *, config: str | None) -> Location:
        """Where the commit's files are; the run has to name one."""
        assert asked.revision is not None
        assert config is None
        return Location(self.path / asked.revision)


def write_table(folder: Path, *, first: int) -> None:
    """A parquet file with four pictures (of all that can be made, those from `first` on) and their captions."""
    made = pictures(folder / "made", first + 4)[first:]
    rows = [{"bytes": path.read_bytes(), "path": None} for path in made]
    pq.write_table(pa.table({"image": rows, "prompt": [f"TOK number {n}" for n in range(4)]}), folder / "train.parquet")
    shutil.rmtree(folder / "made")


def stop_after_two_steps(config: TrainConfig) -> None:
    """Train two of the steps and leave a checkpoint."""
    stop = StopSignal()

    def ask(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 2:
            stop.ask()

    with pytest.raises(StoppedError, match="stopped after step 2 of"):
        train(config, stop=stop, emit=ask)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MovingHub:
    """A hub with one data set at two commits."""
    made = MovingHub(tmp_path / "hub")
    monkeypatch.setattr(dataset, "pinned_commit", made.pinned_commit)
    monkeypatch.setattr(dataset, "download", made.download)
    return made


@pytest.fixture
def on_a_data_set(small_config: Callable[..., TrainConfig], tmp_path: Path) -> TrainConfig:
    """Four steps on the hub's data set."""
    data = {"instance_images": None, "dataset": "somebody/things", "cache_folder": tmp_path / "cache"}
    quick = {"steps": 1, "count": 1}
    return small_config(data=data, schedule={"steps": 4}, validation=quick, checkpoint={"every": 2})


def test_a_resumed_run_sees_the_pictures_it_began_with_wherever_main_has_moved(
    on_a_data_set: TrainConfig, hub: MovingHub, tmp_path: Path
) -> None:
    whole = in_folder(on_a_data_set, tmp_path / "whole")
    train(whole)
    stopped = in_folder(on_a_data_set, tmp_path / "stopped")
    stop_after_two_steps(stopped)
    hub.main = SECOND
    shutil.rmtree(tmp_path / "cache")
    resume(stopped.output.folder)
    run = RunFolder(stopped.output.folder)
    assert json.loads(run.config_file.read_text())["data"]["dataset_revision"] == FIRST
    assert_same_result(run, RunFolder(whole.output.folder))


@pytest.mark.usefixtures("hub")
def test_a_local_table_trains_like_the_same_data_set_on_the_hub(
    on_a_data_set: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from_hub = in_folder(on_a_data_set, tmp_path / "from-hub")
    train(from_hub)
    monkeypatch.chdir(tmp_path)
    data = on_a_data_set.data.model_copy(update={"dataset": f"./hub/{FIRST}"})
    run = train_with_stops(in_folder(on_a_data_set.model_copy(update={"data": data}), tmp_path / "local"), [2])
    assert_same_result(run, RunFolder(from_hub.output.folder))


def test_a_local_table_that_was_exchanged_is_not_gone_on_with(on_a_data_set: TrainConfig, hub: MovingHub) -> None:
    data = on_a_data_set.data.model_copy(update={"dataset": str(hub.path / FIRST)})
    config = on_a_data_set.model_copy(update={"data": data})
    stop_after_two_steps(config)
    write_table(hub.path / FIRST, first=4)
    with pytest.raises(DataError, match=r"the run cannot go on.*\(gone: instance 000000-"):
        resume(config.output.folder)
