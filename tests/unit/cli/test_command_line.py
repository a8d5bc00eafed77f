"""What the command answers, on which stream and with which exit code."""

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
from pydantic import SecretStr

from lorasmith.config.load import load_config
from lorasmith.config.train import TrainConfig
from lorasmith.errors import BusyError, DataError, DivergedError, HubError, LorasmithError, ResourceError, StoppedError


class Answer(Protocol):
    """What a command line came to."""

    code: int
    data: str
    talk: str


Ask = Callable[..., Answer]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> "FakeRuns":
    """Use cases that remember what they were asked."""
    fake = FakeRuns()
    module: Any = ModuleType("lorasmith.runs.train")
    module.train, module.resume = fake.train, fake.resume
    monkeypatch.setitem(sys.modules, "lorasmith.runs.train", module)
    return fake


class FakeRuns:
    """Stands for lorasmith.runs.train."""

    def __init__(self) -> None:
        self.failure: BaseException | None = None
        self.config: TrainConfig | None = None
        self.origins: dict[str, str] = {}
        self.resumed: Path | None = None
        self.hub_token: object = None

    def train(self, config: TrainConfig, *, origins: dict[str, str], emit: object, hub_token: object = None) -> Path:
        """Remember, and fail if told to."""
        del emit
        self.hub_token = hub_token
        self.config, self.origins = config, origins
        if self.failure:
            raise self.failure
        return Path("wolf")

    def resume(self, path: Path, *, emit: object) -> Path:
        """Remember."""
        del emit
        self.resumed = path
        return path


def test_train_hands_files_flags_and_origins_to_the_run(ask: Ask, runs: FakeRuns, tmp_path: Path) -> None:
    file = tmp_path / "wolf.toml"
    file.write_text("[adapter]\nrank = 8", encoding="utf-8")
    answer = ask("train", str(file), "--data.flip", "--max_train_steps=3", "--local_rank", "-1")
    assert answer.code == 0
    assert runs.config == load_config([file], ["--data.flip", "--schedule.steps=3"]).config
    assert runs.origins["adapter.rank"] == f"{file}:2"
    assert answer.data == "wolf\n"
    assert "--local_rank has no effect" in answer.talk


def test_train_can_answer_in_json_and_nothing_else_on_stdout(ask: Ask, runs: FakeRuns) -> None:
    assert json.loads(ask("train", "--json", "--local_rank=0").data) == {
        "run": "wolf",
        "export": str(Path("wolf/export")),
    }


def test_resume_goes_on_with_the_run_and_refuses_other_options(ask: Ask, runs: FakeRuns) -> None:
    refused = ask("train", "--resume", "wolf", "--adapter.rank", "8")
    assert (refused.code, runs.resumed) == (2, None)
    assert "--adapter.rank 8" in refused.talk
    assert ask("train", "--resume", "wolf").code == 0
    assert runs.resumed == Path("wolf")


def test_a_token_goes_to_the_run_and_is_never_shown(ask: Ask, runs: FakeRuns) -> None:
    answer = ask("train", "--hub_token", "hf_secret", "--push_to_hub")
    assert runs.hub_token == SecretStr("hf_secret")
    assert "hf auth login" in answer.talk
    refused = [ask("train", "--resume", "wolf", "--hub_token", "hf_secret"), ask("train", "--hub_tokn=hf_secret")]
    assert [one.code for one in refused] == [2, 2]
    assert "hf_secret" not in "".join(one.talk + one.data for one in (answer, *refused))


@pytest.mark.parametrize(
    ("failure", "code"),
    [
        (LorasmithError("x"), 1),
        (DataError("x"), 3),
        (ResourceError("x"), 4),
        (DivergedError("x"), 5),
        (HubError("x"), 6),
        (BusyError("x"), 7),
        (MemoryError(), 4),
        (OSError(28, "No space left on device", "a.safetensors"), 4),
        (ZeroDivisionError("division by zero"), 1),
    ],
)
def test_each_ending_has_its_exit_code(ask: Ask, runs: FakeRuns, failure: BaseException, code: int) -> None:
    runs.failure = failure
    answer = ask("train")
    assert answer.code == code
    assert answer.talk.startswith("error: ")
    assert answer.data == ""
    assert "Traceback" not in answer.talk


def test_a_run_that_was_asked_to_stop_leaves_with_75_and_no_error(ask: Ask, runs: FakeRuns) -> None:
    runs.failure = StoppedError("stopped after step 3", remedy="Go on with `lorasmith train --resume wolf`.")
    answer = ask("train")
    assert answer.code == 75
    assert answer.talk == "stopped after step 3. Go on with `lorasmith train --resume wolf`.\n"


def test_an_unforeseen_failure_shows_its_traceback_only_when_asked(ask: Ask, runs: FakeRuns) -> None:
    runs.failure = ZeroDivisionError("division by zero")
    assert "--debug shows where" in ask("train").talk
    shown = ask("train", "--debug").talk
    assert "Traceback" in shown
    assert "in train" in shown


def test_all_problems_of_a_command_line_are_shown_at_once(ask: Ask, runs: FakeRuns) -> None:
    answer = ask("train", "--adapter.rnk", "3", "--data.flip=maybe", "nowhere.toml")
    assert answer.code == 2
    assert "3 problems" in answer.talk
    assert "Did you mean --adapter.rank?" in answer.talk
    assert runs.config is None


def test_terminal_escapes_in_messages_are_stripped(ask: Ask, runs: FakeRuns) -> None:
    runs.failure = DataError("cannot read \x1b[31mred\x1b]0;owned\x07\x9b2J\u202egnp.exe\r.png")
    talk = ask("train").talk
    assert "cannot read red2Jgnp.exe.png" in talk


def test_help_of_train_lists_every_option_without_loading_torch(ask: Ask) -> None:
    answer = ask("train", "--help")
    assert answer.code == 0
    assert "Usage: lorasmith train" in answer.data
    assert "  --adapter.rank N\n" in answer.data
    assert "--resume RUN" in answer.data


def test_config_show_is_toml_that_says_the_same_again(ask: Ask, tmp_path: Path) -> None:
    flags = [
        "--recipe=face",
        "--optimizer=adamw",
        "--validation.prompts",
        'a "TOK"\\, \x1b[0m',
        "--rates.new_tokens_1=0",
    ]
    file = tmp_path / "shown.toml"
    file.write_text(ask("config", "show", *flags, "--origins").data, encoding="utf-8")
    assert load_config([file]).config == load_config([], flags).config


def test_config_show_says_where_values_come_from(ask: Ask) -> None:
    data = ask("config", "show", "--recipe", "style", "--adapter.dropout", "0.5", "--origins").data
    assert "\nrank = 32  # recipe style\ndropout" not in data
    assert "rank = 32  # recipe style" in data
    assert "dropout = 0.5  # --adapter.dropout" in data
    assert 'alpha = "none"  # default' in data
    assert "# recipe style" not in ask("config", "show", "--recipe", "style").data


def test_config_show_can_answer_in_json(ask: Ask) -> None:
    shown = json.loads(ask("config", "show", "--rank=3", "--origins", "--json").data)
    assert (shown["config"]["adapter"]["rank"], shown["origins"]["adapter.rank"]) == (3, "--rank")


def test_config_flags_lists_the_scripts_81_flags(ask: Ask) -> None:
    rows = json.loads(ask("config", "flags", "--json").data)
    assert len(rows) == 81
    text = ask("config", "flags").data
    assert "--rank  [same]  --adapter.rank" in text
    assert "--push_to_hub  [renamed]  --hub.push" in text


def test_a_refusal_of_the_run_says_who_set_the_option(ask: Ask, runs: FakeRuns) -> None:
    runs.failure = DataError("no pictures in nowhere", where="data.instance_images")
    assert "(data.instance_images, --instance_data_dir)" in ask("train", "--instance_data_dir=nowhere").talk


def test_version_and_unknown_commands(ask: Ask) -> None:
    assert ask("--version").data.startswith("lorasmith ")
    assert ask("trian").code == 2


def test_log_lines_are_talk(ask: Ask, runs: FakeRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    def noisy(config: TrainConfig, *, origins: object, emit: object, hub_token: object) -> Path:
        del config, origins, emit, hub_token
        logging.getLogger("lorasmith.somewhere").info("a cache was \x1b[1mthrown away")
        return Path("wolf")

    monkeypatch.setattr(sys.modules["lorasmith.runs.train"], "train", noisy)
    answer = ask("train")
    assert "a cache was thrown away" in answer.talk
    assert answer.data == "wolf\n"
