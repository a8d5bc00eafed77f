"""A process that is killed in the middle of an upload leaves what the next push completes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import finished_run, shared_bytes

from lorasmith.runs.push import push
from lorasmith.testing.fake_hub import TOKEN, FakeHub, Stage

COMMAND = "from lorasmith.cli.app import main; main()"


@pytest.mark.parametrize(("stage", "whole_before"), [("store", 2), ("commit", 0)])
def test_a_push_that_is_killed_is_completed_by_the_next(
    hub: FakeHub, tmp_path: Path, stage: Stage, whole_before: int
) -> None:
    run = finished_run(tmp_path / "dog")
    settings = {"HF_ENDPOINT": hub.url, "HF_TOKEN": TOKEN, "HF_HUB_DISABLE_XET": "1", "HF_HOME": str(tmp_path / "hf")}
    hub.fail(stage, "hang", after=whole_before)
    killed = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "push", str(run.path), "--repo", "guild/wolf"],
        env={**os.environ, **settings, "NO_PROXY": "127.0.0.1"}, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert hub.wait_until_it_hangs(60)
    killed.send_signal(signal.SIGKILL)
    assert killed.wait(30) == -signal.SIGKILL
    assert run.outbox_file.exists()
    assert set(hub.repositories["guild/wolf"].files) == {".gitattributes"}, "nothing is there by halves"
    stored = set(hub.stored)
    assert len(stored) == (whole_before or 4)

    hub.recover()
    hub.requests.clear()
    assert push(run.path).repo == "guild/wolf"
    files = hub.repositories["guild/wolf"].files
    assert {name: files[name] for name in files if name != ".gitattributes"} == shared_bytes(run)
    assert not run.outbox_file.exists()
    assert hub.counts().get("store", 0) == 4 - len(stored), "what was stored is not sent again"
