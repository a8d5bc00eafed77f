"""Which trackers a run has: those asked for, all that are installed, none; a missing one is refused with its extra."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError

from lorasmith.config.load import load_arguments
from lorasmith.config.tracking import TrackingConfig
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import ignore
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import plan_run
from lorasmith.runs.train import train
from lorasmith.tracking import choice
from lorasmith.tracking.choice import trackers_of, tracking


def asked(*names: str) -> TrainConfig:
    """A config that asks for trackers."""
    return TrainConfig.model_validate({"tracking": {"report_to": names}})


def hide(monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    """Make a package one that is not installed."""
    ours = {"tensorboard": "tensorboard_files", "wandb": "weights_and_biases"}[package]
    for name in [name for name in sys.modules if name.startswith((package, "torch.utils.tensorboard"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, f"lorasmith.tracking.{ours}", raising=False)
    monkeypatch.setitem(sys.modules, package, None)


def test_by_default_no_tracker_is_there_and_none_is_imported() -> None:
    assert trackers_of(TrainConfig()) == {}
    assert tracking(TrainConfig(), [], ignore) is ignore


def test_the_trackers_asked_for_are_there_in_their_order() -> None:
    assert list(trackers_of(asked("wandb", "tensorboard"))) == ["wandb", "tensorboard"]


def test_all_are_those_that_are_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    installed = {"tensorboard": object()}
    monkeypatch.setattr(choice.importlib.util, "find_spec", installed.get)
    assert list(trackers_of(asked("all"))) == ["tensorboard"]
    installed.clear()
    with pytest.raises(ConfigError, match=r"none is.*tracking\.report_to.*pip install 'lorasmith\[trackers\]'"):
        trackers_of(asked("all"))


@pytest.mark.parametrize("package", ["tensorboard", "wandb"])
def test_a_missing_package_is_refused_before_anything_is_read_or_written(
    package: str, small_config: Callable[..., TrainConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(tracking={"report_to": (package,)})
    hide(monkeypatch, package)
    for work in (train, plan_run):
        with pytest.raises(ConfigError, match=rf"{package} cannot be loaded.*pip install 'lorasmith\[trackers\]'"):
            work(config)
    assert not config.output.folder.exists()


@pytest.mark.parametrize(
    ("text", "names"),
    [("tensorboard", ("tensorboard",)), ("wandb,trackio", ("wandb", "trackio")), ("ALL", ("all",)), ("none", ())],
)
@pytest.mark.parametrize("flag", ["--report_to", "--tracking.report-to"])
def test_trackers_are_asked_for_as_in_the_script(flag: str, text: str, names: tuple[str, ...]) -> None:
    assert load_arguments([flag, text]).config.tracking.report_to == names


def test_the_script_without_report_to_has_no_tracker() -> None:
    words = ["--pretrained_model_name_or_path", "embedded", "--instance_data_dir", "x", "--instance_prompt", "a TOK"]
    assert load_arguments(words).config.tracking.report_to == ()


def test_comet_is_refused_with_a_reason_and_a_misspelled_tracker_with_the_right_names() -> None:
    with pytest.raises(ConfigError, match="comet_ml is not supported: it needs an account"):
        load_arguments(["--report_to", "comet_ml"])
    with pytest.raises(ConfigError, match="'tensorbord' is no tracker; there are tensorboard, wandb and trackio"):
        load_arguments(["--report_to", "tensorbord"])


def test_logging_dir_is_a_folder_in_the_run_folder_that_is_not_one_of_the_runs_own() -> None:
    assert load_arguments(["--logging_dir", "logs"]).config.tracking.folder == Path("logs")
    for folder in ("export", "export/logs", "checkpoints", "../logs", "."):
        with pytest.raises(ValidationError, match=r"inside the run folder|own files"):
            TrackingConfig(folder=Path(folder))


@pytest.mark.parametrize("project", ["", " ", "a/b", "x" * 101])
def test_a_project_that_trackers_cannot_name_is_refused(project: str) -> None:
    with pytest.raises(ValidationError, match="at most 100 characters"):
        TrackingConfig(project=project)


def test_a_folder_of_trackers_in_an_unfinished_run_does_not_hide_that_it_can_be_gone_on_with(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    run.checkpoint_folder(3).mkdir(parents=True)
    (tmp_path / "logs").mkdir()
    with pytest.raises(ConfigError, match="unfinished run"):
        run.refuse_if_used()
