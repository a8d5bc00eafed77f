"""What `lorasmith push` answers, and with which exit code."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from lorasmith.atomic import write_json, write_text
from lorasmith.config.train import TrainConfig
from lorasmith.export_manifest import ExportManifest, sha256_of, write_manifest
from lorasmith.run_folder import RunFolder
from lorasmith.testing.fake_hub import FakeHub


class Answer(Protocol):
    """What a command line came to."""

    code: int
    data: str
    talk: str


Ask = Callable[..., Answer]


def run_in(path: Path) -> RunFolder:
    """A finished run that shares a card and nothing else."""
    folder = RunFolder(path)
    write_json(folder.config_file, TrainConfig.model_validate({"output": {"folder": path}}).model_dump(mode="json"))
    write_text(folder.model_card, "---\nlicense: other\n---\n")
    hashes = {"README.md": sha256_of(folder.model_card)}
    write_manifest(folder.export, ExportManifest(base="embedded", lora=None, files=hashes))
    return folder


def test_it_gives_the_address_and_says_what_was_sent(ask: Ask, hub: FakeHub, tmp_path: Path) -> None:
    run = run_in(tmp_path / "wolf")
    first = ask("push", str(run.path))
    assert (first.code, first.data) == (0, f"{hub.url}/tester/wolf\n")
    assert "2 files sent, 0 were there already" in first.talk
    assert "0 files sent, 2 were there already" in ask("push", str(run.path)).talk


def test_it_can_answer_in_json(ask: Ask, hub: FakeHub, tmp_path: Path) -> None:
    answer = ask("push", str(run_in(tmp_path / "wolf").path), "--repo", "guild/pack", "--private", "--json")
    assert json.loads(answer.data) == {
        "repo": "guild/pack",
        "url": f"{hub.url}/guild/pack",
        "sent": ["README.md", "lorasmith.json"],
        "already_there": [],
    }
    assert hub.repositories["guild/pack"].private


def test_each_failure_has_its_exit_code_and_says_how_to_go_on(ask: Ask, hub: FakeHub, tmp_path: Path) -> None:
    run = run_in(tmp_path / "wolf")
    refused = ask("push", str(run.path), "--repo", "https://huggingface.co/me/dog")
    assert (refused.code, hub.requests) == (2, [])
    assert "(--repo)" in refused.talk
    assert ask("push", str(tmp_path / "nowhere")).code == 2
    hub.fail("commit", 500)
    failed = ask("push", str(run.path))
    assert (failed.code, failed.data) == (6, "")
    assert f"`lorasmith push {run.path}` completes it" in failed.talk
