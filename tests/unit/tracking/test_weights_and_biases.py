"""wandb offline: what it wrote down is read back from its own file."""

import getpass
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import wandb
from PIL import Image
from wandb_files import config_in, offline_files, rows_in

from lorasmith.tracking.rows import TrackerMemory
from lorasmith.tracking.tracker import Picture, RunFacts
from lorasmith.tracking.weights_and_biases import WeightsAndBiases


@pytest.fixture(autouse=True)
def _nobodys_wandb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is logged in, and wandb's own folders are the test's."""
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    for name in ("CONFIG", "CACHE", "DATA", "ARTIFACT"):
        monkeypatch.setenv(f"WANDB_{name}_DIR", str(tmp_path / "wandb-own"))


def facts(*, first: int = 0, resumed: bool = False) -> RunFacts:
    """A run's facts."""
    return RunFacts("wolf", "wolves", {"adapter.rank": 4, "model.base": "embedded"}, first, resumed)


def tracker_in(folder: Path) -> WeightsAndBiases:
    """The tracker of a run in `folder`, as a new process makes it."""
    return WeightsAndBiases(folder, TrackerMemory(folder / "wandb.json"))


def losses(folder: Path) -> list[tuple[int, float]]:
    """The curve of all sessions together, as `wandb sync` puts it together."""
    return [(row["_step"], row["loss"]) for path in offline_files(folder) for row in rows_in(path)]


def test_without_a_login_the_run_is_written_down_offline_and_says_how_to_show_it(tmp_path: Path) -> None:
    tracker = tracker_in(tmp_path)
    said = tracker.start(facts())
    tracker.finish("done")
    (path,) = offline_files(tmp_path)
    assert said is not None
    assert "Nobody is logged in to Weights & Biases" in said
    assert f"`wandb sync {path.parent}`" in said
    assert wandb.run is None


def test_all_of_a_step_is_one_row_with_pictures_and_their_prompts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    tracker = tracker_in(tmp_path)
    assert tracker.start(facts()) is None
    tracker.numbers(1, {"train/loss": 0.5})
    tracker.numbers(2, {"train/loss": 0.25})
    tracker.numbers(2, {"validation/loss": 0.3})
    tracker.pictures(2, [Picture(tmp_path / "a.png", "a TOK dog")])
    tracker.finish("done")
    (path,) = offline_files(tmp_path)
    first, second = rows_in(path)
    assert (first["_step"], first["train/loss"]) == (1, 0.5)
    assert (second["_step"], second["train/loss"], second["validation/loss"]) == (2, 0.25, 0.3)
    assert second["samples/captions"] == ["a TOK dog"]
    (picture,) = path.parent.glob("files/media/images/*.png")
    assert Image.open(picture).convert("RGB").getpixel((0, 0)) == (255, 0, 0)
    told = config_in(path)
    assert (told["adapter.rank"], told["model.base"]) == (4, "embedded")


def test_a_run_that_goes_on_is_the_same_to_wandb_and_has_each_step_once(tmp_path: Path) -> None:
    crashed = tracker_in(tmp_path)
    crashed.start(facts())
    for step in range(1, 7):
        crashed.numbers(step, {"loss": float(step)})
    crashed.finish("failed")
    going_on = tracker_in(tmp_path)
    going_on.start(facts(first=4, resumed=True))
    for step in range(5, 9):
        going_on.numbers(step, {"loss": float(step)})
    going_on.finish("done")
    first, second = offline_files(tmp_path)
    assert first.name == second.name
    assert losses(tmp_path) == [(step, float(step)) for step in range(1, 9)]


KILLED = """
import os, sys, time
from pathlib import Path
from lorasmith.tracking.rows import TrackerMemory
from lorasmith.tracking.tracker import RunFacts
from lorasmith.tracking.weights_and_biases import WeightsAndBiases

folder = Path(sys.argv[1])
tracker = WeightsAndBiases(folder, TrackerMemory(folder / "wandb.json"))
tracker.start(RunFacts("wolf", "wolves", {}, 0, False))
for step in range(1, 8):
    tracker.numbers(step, {"loss": float(step)})
time.sleep(3)
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_run_had_logged_is_there_and_not_logged_again(tmp_path: Path) -> None:
    alone = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}  # not with our wandb-core
    command = [sys.executable, "-c", KILLED, str(tmp_path)]
    killed = subprocess.run(command, env=alone, check=False, capture_output=True)
    assert killed.returncode == -9, killed.stderr
    going_on = tracker_in(tmp_path)
    going_on.start(facts(first=4, resumed=True))
    for step in range(5, 9):
        going_on.numbers(step, {"loss": float(step)})
    going_on.finish("done")
    first, second = offline_files(tmp_path)
    told = rows_in(first, finished=False) + rows_in(second)
    assert [(row["_step"], row["loss"]) for row in told] == [(step, float(step)) for step in range(1, 9)]


def test_a_run_from_the_beginning_is_another_run_to_wandb(tmp_path: Path) -> None:
    for _ in range(2):
        tracker = tracker_in(tmp_path)
        tracker.start(facts())
        tracker.numbers(1, {"loss": 1.0})
        tracker.finish("done")
    first, second = offline_files(tmp_path)
    assert first.name != second.name
    assert losses(tmp_path) == [(1, 1.0), (1, 1.0)]


def test_wandb_learns_neither_the_machine_nor_its_user_nor_paths(tmp_path: Path) -> None:
    tracker = tracker_in(tmp_path)
    tracker.start(facts())
    tracker.numbers(1, {"loss": 1.0})
    tracker.finish("done")
    (path,) = offline_files(tmp_path)
    assert len(rows_in(path)) == 1
    content = path.read_bytes()
    for private in (socket.gethostname(), getpass.getuser(), str(tmp_path), str(Path.home()), "pytest"):
        assert len(private) < 3 or private.encode() not in content
    assert [file for file in (path.parent / "files").rglob("*") if file.is_file()] == []


def test_a_login_that_is_no_good_ends_in_a_run_written_down_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "too short")
    tracker = tracker_in(tmp_path)
    said = tracker.start(facts())
    tracker.numbers(1, {"loss": 1.0})
    tracker.finish("done")
    assert said is not None
    assert "could not be reached (AuthenticationError), so the run is written down offline" in said
    assert losses(tmp_path) == [(1, 1.0)]
