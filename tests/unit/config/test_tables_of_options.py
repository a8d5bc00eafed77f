"""Options that are a table of names and numbers, as flags, in TOML and back; and the script's flags for blocks."""

import tomllib
from pathlib import Path

import pytest

from lorasmith.cli.config_commands import toml_lines
from lorasmith.config.adapter import CONTENT_BLOCK, STYLE_BLOCK
from lorasmith.config.load import load_config
from lorasmith.errors import ConfigError

WANTED = {"mid_block": 32, "up_blocks.0": 8}


@pytest.mark.parametrize(
    "flags",
    [
        ["--adapter.block-ranks", "mid_block=32,up_blocks.0=8"],
        ["--adapter.block-ranks=mid_block=32", "--adapter.block-ranks", "unet.up_blocks.0 = 8"],
        ["--adapter.block_ranks", "denoiser.mid_block=32, up_blocks.0=8"],
    ],
)
def test_a_table_is_said_by_flags(flags: list[str]) -> None:
    loaded = load_config([], flags)
    assert loaded.config.adapter.block_ranks == WANTED
    assert str(loaded.origins["adapter.block_ranks"]).startswith("--adapter.block")


@pytest.mark.parametrize(
    "text",
    [
        '[adapter]\nrank = 4\nblock_ranks = {mid_block = 32, "up_blocks.0" = 8}',
        '[adapter]\nrank = 4\n[adapter.block_ranks]\nmid_block = 32\n"up_blocks.0" = 8',
        "[adapter]\nrank = 4\n[adapter.block_ranks]\nmid_block = 32\nup_blocks.0 = 8",
        '[adapter]\nrank = 4\nblock_ranks = "mid_block=32,up_blocks.0=8"',
    ],
)
def test_a_table_is_said_in_toml(tmp_path: Path, text: str) -> None:
    file = tmp_path / "wolf.toml"
    file.write_text(text)
    loaded = load_config([file])
    assert (loaded.config.adapter.block_ranks, loaded.config.adapter.rank) == (WANTED, 4)
    assert str(loaded.origins["adapter.block_ranks"]).startswith(f"{file}:")
    assert load_config([file], ["--adapter.block-ranks", "none"]).config.adapter.block_ranks == {}


def test_what_config_show_prints_says_the_same_again(tmp_path: Path) -> None:
    config = load_config([], ["--adapter.block-ranks", "mid_block=32,up_blocks.0=8"]).config
    file = tmp_path / "shown.toml"
    file.write_text("\n".join(toml_lines(config, {})))
    assert tomllib.loads(file.read_text())["adapter"]["block_ranks"] == WANTED
    assert load_config([file]).config == config


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("mid_block", "'mid_block' and must be names with whole numbers, such as mid_block=32"),
        ("mid_block=x", "'x' and must be names with whole numbers"),
        ("mid_block=0", "adapter.block_ranks.mid_block is 0 and must be at least 1"),
        ("mid_block=1,mid_block=2", "must be names with whole numbers"),
        ("mid_block=1,unet.mid_block=2", "must name each block once"),
        ("a b=1", "must hold names of blocks such as up_blocks.0.attentions.1, not 'a b'"),
    ],
)
def test_a_table_that_is_none_is_refused_where_it_was_said(said: str, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config([], ["--adapter.block-ranks", said])
    (problem,) = caught.value.problems
    assert told in problem.what
    assert problem.where == "--adapter.block-ranks"


@pytest.mark.parametrize("value", ['{a = "x"}', "{a = 1.5}", "3", "{a = true}", "{a = {b = {}}, c = [1]}"])
def test_a_table_of_anything_else_is_refused_with_its_line(tmp_path: Path, value: str) -> None:
    file = tmp_path / "wolf.toml"
    file.write_text(f"[adapter]\nblock_ranks = {value}")
    with pytest.raises(ConfigError, match=r"must be names with whole numbers.*wolf\.toml:2"):
        load_config([file])


def test_the_scripts_flags_name_blocks() -> None:
    said = load_config([], ["--lora_unet_blocks", "unet.up_blocks.0.attentions.0,mid_block"]).config.adapter
    assert said.blocks == ("up_blocks.0.attentions.0", "mid_block")
    b_lora = load_config([], ["--use_blora", "--use_dora"]).config.adapter
    assert (b_lora.b_lora, b_lora.kind, b_lora.chosen_blocks) == (True, "dora", (CONTENT_BLOCK, STYLE_BLOCK))
    assert b_lora.roles == {"content": CONTENT_BLOCK, "style": STYLE_BLOCK}


def test_the_scripts_b_lora_overrides_its_blocks_and_says_so() -> None:
    loaded = load_config([], ["--use_blora", "--lora_unet_blocks", "unet.mid_block"])
    assert loaded.config.adapter.chosen_blocks == (CONTENT_BLOCK, STYLE_BLOCK)
    assert any("--lora_unet_blocks has no effect: B-LoRA names its blocks itself" in one for one in loaded.notices)


def test_ours_says_blocks_once() -> None:
    with pytest.raises(ConfigError, match=r"adapter\.b_lora names its two blocks itself"):
        load_config([], ["--adapter.b-lora", "--adapter.blocks", "mid_block"])
