"""A run that is to be pushed: the login is looked at before, the hub cannot spoil it, and no token stays anywhere."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from lorasmith.cli.app import main
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, HubError, StoppedError
from lorasmith.events import Event, Notice, RunEnded, StepDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.push import push
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.testing import pictures
from lorasmith.testing.fake_hub import TOKEN, USER, FakeHub

SECRET = "hf_aSecretOnTheCommandLine987654"
SHORT = {"schedule": {"steps": 2, "batch_size": 1}, "validation": {"steps": 1, "count": 1}}

SmallConfig = Callable[..., TrainConfig]


@dataclass(frozen=True)
class Ending:
    """How a command ended and all that it said."""

    code: object
    said: str


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str]) -> Callable[..., Ending]:
    """Runs a command line."""

    def run(*words: str) -> Ending:
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words)
        streams = capfd.readouterr()
        return Ending(left.value.code, streams.out + streams.err)

    return run


def in_the_articles_manner(base: Path, root: Path) -> list[str]:
    """The article's command line with a shorter training."""
    if not (root / "huggy").exists():
        pictures(root / "huggy", 2)
    return [
        "train", f"--pretrained_model_name_or_path={base}", f"--instance_data_dir={root / 'huggy'}",
        "--instance_prompt=a TOK emoji", "--validation_prompt=a TOK emoji dressed as Yoda", "--train_text_encoder_ti",
        "--num_validation_images=1", "--mixed_precision=no", "--resolution=64", "--train_batch_size=1", "--rank=4",
        "--max_train_steps=2", "--seed=0", "--validation.steps=1", f"--data.cache-folder={root / 'latents'}",
        f"--output_dir={root / 'huggy_v1'}", "--push_to_hub",
    ]  # fmt: skip


def bytes_below(folder: Path) -> bytes:
    """Every byte of every file, and their names."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 5
    return b"\n".join(part for path in files for part in (str(path).encode(), path.read_bytes()))


def assert_holds_the_export(hub: FakeHub, repo: str, run: RunFolder) -> None:
    """The repository has the files that the manifest shares, byte by byte, and no others."""
    manifest = json.loads((run.export / "lorasmith.json").read_text())
    files = {name: content for name, content in hub.repositories[repo].files.items() if name != ".gitattributes"}
    assert set(files) == {*manifest["files"], "lorasmith.json"}
    assert {name: (run.export / name).read_bytes() for name in files} == files


def test_the_articles_command_pushes_and_its_token_is_nowhere(
    hub: FakeHub, tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., Ending]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    hub.roles = {SECRET: "write"}
    words = in_the_articles_manner(tiny_base, tmp_path)
    ending = command(*words, "--hub_model_id=huggy", "--hub_token", SECRET, "--debug")
    assert ending.code == 0, ending.said
    run = RunFolder(tmp_path / "huggy_v1")
    assert run.state() == "finished"
    assert not run.outbox_file.exists()
    assert_holds_the_export(hub, "tester/huggy", run)
    assert f"{hub.url}/tester/huggy" in ending.said
    assert "Others can see a secret on a command line" in ending.said
    assert SECRET not in ending.said
    assert SECRET.encode() not in bytes_below(run.path)


def test_the_card_that_arrives_names_only_pictures_that_arrived(
    hub: FakeHub, small_config: SmallConfig, tmp_path: Path
) -> None:
    train(small_config(**SHORT, hub={"push": True}))
    files = hub.repositories["tester/run"].files
    card = ModelCard(files["README.md"].decode()).data.to_dict()
    shown = [entry["output"]["url"] for entry in card["widget"]]
    assert shown
    assert set(shown) <= set(files)
    assert "TOK" not in card["instance_prompt"]
    assert {"text-to-image", "stable-diffusion-xl", "lora", "template:sd-lora"} <= set(card["tags"])
    assert "base_model" not in card, "a folder of this machine is no model of the hub"
    everything = b"".join(files.values())
    assert str(tmp_path).encode() not in everything
    assert TOKEN.encode() not in everything


def test_a_hub_that_fails_spoils_no_run_and_push_completes_it(
    hub: FakeHub, tiny_base: Path, tmp_path: Path, command: Callable[..., Ending]
) -> None:
    hub.fail("store", 503, after=1)
    ending = command(*in_the_articles_manner(tiny_base, tmp_path))
    run = RunFolder(tmp_path / "huggy_v1")
    assert ending.code == 6
    assert "the run is done and its exports are whole" in ending.said
    assert f"`lorasmith push {run.path}` completes it" in ending.said
    assert run.state() == "finished"
    assert run.report_file.exists()
    assert run.outbox_file.exists()
    before = bytes_below(run.export)
    with pytest.raises(ConfigError, match="completes its upload"):
        resume(run.path)
    hub.recover()
    assert command("push", str(run.path)).code == 0
    assert_holds_the_export(hub, f"{USER}/huggy_v1", run)
    assert not run.outbox_file.exists()
    assert bytes_below(run.export) == before
    assert TOKEN.encode() not in bytes_below(run.path)


@pytest.mark.parametrize("trouble", ["nobody is logged in", "does not accept the login", "can only read"])
def test_a_login_that_cannot_push_is_refused_before_the_training(
    hub: FakeHub, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    match trouble:
        case "nobody is logged in":
            monkeypatch.delenv("HF_TOKEN")
        case "can only read":
            hub.roles[TOKEN] = "read"
        case _:
            hub.roles.clear()
    config = small_config(**SHORT, hub={"push": True})
    events: list[Event] = []
    with pytest.raises(HubError, match=rf"{trouble}.*\(hub\.push\).*hf auth login.*`lorasmith push`"):
        train(config, emit=events.append)
    assert events == []
    assert not config.output.folder.exists()


def test_a_hub_that_is_away_is_told_and_the_run_goes_on(
    hub: FakeHub, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    config = small_config(**SHORT, hub={"push": True, "repo": "guild/dog"})
    events: list[Event] = []
    with pytest.raises(HubError, match=r"the run is done.*could not be reached"):
        train(config, emit=events.append)
    first = events[0]
    assert isinstance(first, Notice)
    assert "the upload to guild/dog may fail" in first.text
    assert [event.reason for event in events if isinstance(event, RunEnded)] == ["done"]
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    run = RunFolder(config.output.folder)
    push(run.path)
    assert_holds_the_export(hub, "guild/dog", run)


def test_somebody_elses_repository_is_told_before_the_training(hub: FakeHub, small_config: SmallConfig) -> None:
    events: list[Event] = []
    with pytest.raises(HubError, match="may not write to stranger/dog"):
        train(small_config(**SHORT, hub={"push": True, "repo": "stranger/dog"}), emit=events.append)
    assert isinstance(events[0], Notice)
    assert "no member there" in events[0].text


def test_nobody_is_asked_where_no_push_is(hub: FakeHub, small_config: SmallConfig) -> None:
    run = RunFolder(train(small_config(**SHORT)))
    assert hub.requests == []
    assert not run.outbox_file.exists()


def test_a_resumed_run_without_a_login_is_finished_first(
    hub: FakeHub, small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = StopSignal()
    config = small_config(**SHORT, hub={"push": True})

    def ask(event: Event) -> None:
        if isinstance(event, StepDone):
            stop.ask()

    with pytest.raises(StoppedError):
        train(config, emit=ask, stop=stop)
    monkeypatch.delenv("HF_TOKEN")
    events: list[Event] = []
    with pytest.raises(HubError, match=r"the run is done.*nobody is logged in"):
        resume(config.output.folder, emit=events.append)
    assert any(isinstance(event, Notice) and "training goes on" in event.text for event in events)
    assert RunFolder(config.output.folder).state() == "finished"
    assert hub.repositories == {}


def test_ctrl_c_after_the_last_step_leaves_the_upload_for_later(hub: FakeHub, small_config: SmallConfig) -> None:
    stop = StopSignal()
    config = small_config(**SHORT, hub={"push": True})

    def ask(event: Event) -> None:
        if type(event).__name__ == "ExportWritten":
            stop.ask()

    with pytest.raises(StoppedError, match=r"the run is done.*was stopped.*lorasmith push"):
        train(config, emit=ask, stop=stop)
    run = RunFolder(config.output.folder)
    assert run.state() == "finished"
    assert hub.repositories == {}
    push(run.path)
    assert_holds_the_export(hub, "tester/run", run)
