"""The script's `--resume_from_checkpoint`: the same command line again goes on with its run, exactly."""

from collections.abc import Callable
from pathlib import Path

import pytest
from resuming import asking_after, assert_same_result, in_folder

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, StoppedError
from lorasmith.events import Event, Notice, RunStarted
from lorasmith.run_folder import RunFolder
from lorasmith.runs.going_on import go_on_or_train
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import train

SmallConfig = Callable[..., TrainConfig]


def stopped_after(step: int, config: TrainConfig) -> None:
    stop = StopSignal()
    with pytest.raises(StoppedError):
        train(config, stop=stop, emit=asking_after(step, stop))


def test_the_same_command_line_goes_on_with_its_run(small_config: SmallConfig, tmp_path: Path) -> None:
    whole = in_folder(small_config(), tmp_path / "whole")
    train(whole)
    config = in_folder(small_config(), tmp_path / "stopped")
    stopped_after(3, config)
    events: list[Event] = []
    go_on_or_train(config, "latest", origins={}, emit=events.append)
    assert [event.step for event in events if isinstance(event, RunStarted)] == [3]
    assert_same_result(RunFolder(config.output.folder), RunFolder(whole.output.folder))


@pytest.mark.parametrize("name", ["checkpoint-3", "step-000003", "runs/wolf/checkpoint-3/"])
def test_the_newest_checkpoint_may_be_named(small_config: SmallConfig, name: str) -> None:
    config = small_config()
    stopped_after(3, config)
    assert (go_on_or_train(config, name, origins={}, emit=lambda _: None) / "export").is_dir()


def test_without_a_run_latest_begins_one_and_says_so(small_config: SmallConfig) -> None:
    events: list[Event] = []
    folder = go_on_or_train(small_config(), "latest", origins={}, emit=events.append)
    assert (folder / "export").is_dir()
    assert any("a new run begins" in event.text for event in events if isinstance(event, Notice))


def test_other_options_than_the_runs_own_are_refused_by_name(small_config: SmallConfig) -> None:
    stopped_after(3, small_config())
    with pytest.raises(ConfigError, match=r"adapter\.rank was 4 and is 8"):
        go_on_or_train(small_config(adapter={"rank": 8}), "latest", origins={}, emit=lambda _: None)


@pytest.mark.parametrize("name", ["checkpoint-2", "somewhere"])
def test_a_checkpoint_that_is_not_the_newest_is_refused(small_config: SmallConfig, name: str) -> None:
    stopped_after(3, small_config())
    with pytest.raises(ConfigError, match="after step 3"):
        go_on_or_train(small_config(), name, origins={}, emit=lambda _: None)


def test_a_named_checkpoint_of_no_run_is_refused(small_config: SmallConfig) -> None:
    with pytest.raises(ConfigError, match="there is no checkpoint 'checkpoint-500'"):
        go_on_or_train(small_config(), "checkpoint-500", origins={}, emit=lambda _: None)
