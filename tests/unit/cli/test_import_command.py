"""`lorasmith import` writes a config that trains, says what was carried over, and shows hostile text harmlessly."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lorasmith.errors import LorasmithError
from lorasmith.importing import import_config
from lorasmith.importing.result import Peer
from lorasmith.testing import pictures

Ask = Callable[..., Any]

CONFIG = 'network_dim = 16\nmax_train_steps = 20\nunet_lr = 1e-4\nfrobnicate = "x"\nclip_skip = 2\nmasked_loss = true\n'


@pytest.fixture
def config(tmp_path: Path, tiny_base: Path) -> Path:
    """A small kohya config on pictures that are there."""
    pictures(tmp_path / "data" / "2_sks thing", 2)
    file = tmp_path / "kohya.toml"
    places = f'train_data_dir = "{tmp_path / "data"}"\npretrained_model_name_or_path = "{tiny_base}"\n'
    file.write_text(CONFIG + places + f'resolution = "64"\noutput_dir = "{tmp_path / "out"}"\noutput_name = "thing"\n')
    return file


def test_what_is_written_trains_with_the_same_steps_and_scale(config: Path, tmp_path: Path, ask: Ask) -> None:
    answer = ask("import", "kohya", str(config), "--to", str(tmp_path / "run.toml"))
    assert answer.code == 0
    assert "adapter.alpha = 1.0  (network_alpha = 1 (not said: its default))" in answer.talk
    assert "frobnicate" in answer.talk
    assert "alpha beside rank" in answer.talk
    assert ask("train", str(tmp_path / "run.toml"), "--dry-run").code == 0
    assert ask("train", str(tmp_path / "run.toml"), "--schedule.steps", "1", "--runtime.precision", "fp32").code == 0
    assert "alpha 1" in ask("verify", str(tmp_path / "out" / "thing")).data


def test_every_value_says_where_it_came_from(config: Path, ask: Ask) -> None:
    page = ask("import", "kohya", str(config)).data
    assert "rank = 16  # kohya: network_dim = 16" in page
    assert "# Unknown, not used:\n#   - frobnicate = x" in page


def test_the_report_as_json_has_all_of_it(config: Path, ask: Ask) -> None:
    report = json.loads(ask("import", "kohya", str(config), "--json").data)
    assert set(report) == {"peer", "files", "carried", "without_equivalent", "traps", "unknown", "toml"}
    options = {one["option"]: one["value"] for one in report["carried"]}
    assert (options["adapter.rank"], options["schedule.steps"], options["data.repeats"]) == (16, 20, 2)
    assert report["unknown"] == [{"key": "frobnicate", "value": "x", "near": None}]
    assert any(one["what"] == "clip skip counts differently" for one in report["traps"])


def test_a_file_that_is_there_is_never_written_over(config: Path, tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "run.toml").write_text("mine")
    assert ask("import", "kohya", str(config), "--to", str(tmp_path / "run.toml")).code == 2
    assert (tmp_path / "run.toml").read_text() == "mine"


def test_hostile_text_is_harmless_in_the_terminal_and_in_the_file(tmp_path: Path, ask: Ask) -> None:
    hostile = "x\x1b[31m\n[adapter]\nrank = 512\u202e"
    file = tmp_path / "config.json"
    file.write_text(json.dumps({
        "network_dim": 8, "output_name": hostile, hostile: hostile, "lr_scheduler": hostile, "sample_prompts": hostile,
    }))  # fmt: skip
    answer = ask("import", "kohya", str(file), "--to", str(tmp_path / "run.toml"))
    assert answer.code == 0
    assert "\x1b" not in answer.talk
    assert "\u202e" not in answer.talk
    shown = json.loads(ask("config", "show", str(tmp_path / "run.toml"), "--json").data)
    assert (shown["adapter"]["rank"], shown["output"]["name"]) == (8, hostile)


EXAMPLES: dict[str, str] = {
    "kohya": json.dumps({
        "network_dim": 8, "network_args": ["a=1"], "optimizer_args": ["betas=1,2"], "resolution": "9,9",
    }),
    "onetrainer": json.dumps({
        "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE", "unet": {"train": True}, "samples": [],
        "concepts": [{"path": "x", "image": {}, "text": {}}], "optimizer": {"optimizer": "ADAMW"}, "epochs": 3,
    }),
    "ai-toolkit": json.dumps({"job": "extension", "config": {"name": "x", "process": [{
        "type": "sd_trainer", "network": {"linear": 8}, "model": {"is_xl": True, "name_or_path": "x"},
        "datasets": [{"folder_path": "x", "resolution": [512]}], "train": {"steps": 5, "optimizer_params": {}},
    }]}}),
    "simpletuner": json.dumps({
        "model_family": "sdxl", "model_type": "lora", "lora_rank": 8, "optimizer_config": "a=1",
    }),
}  # fmt: skip
OTHERS: tuple[Any, ...] = tuple(
    json.loads('[null, true, -1, 0, 1e308, "", "x", [], {}, [1], {"a": 1}, [[]], "\\ud800"]')
)


def changed(data: Any, chance: random.Random) -> Any:
    """The data with another value somewhere in it."""
    if not isinstance(data, dict | list) or not data or chance.random() < 0.15:
        return chance.choice(OTHERS)
    if isinstance(data, list):
        rows = cast("list[Any]", data)
        at = chance.randrange(len(rows))
        return [changed(row, chance) if number == at else row for number, row in enumerate(rows)]
    table = cast("dict[str, Any]", data)
    name = chance.choice(list(table))
    return {**table, name: changed(table[name], chance)}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32), peer=st.sampled_from(sorted(EXAMPLES)))
def test_any_value_anywhere_is_imported_or_refused_by_name(tmp_path: Path, seed: int, peer: Peer) -> None:
    file = tmp_path / "config.json"
    file.write_text(json.dumps(changed(json.loads(EXAMPLES[peer]), random.Random(seed))))
    said = ["imported"]
    try:
        import_config(peer, [file])
    except LorasmithError as refusal:  # any other error would be ours
        said = [problem.what for problem in refusal.problems]
    assert said
    assert all(said)
