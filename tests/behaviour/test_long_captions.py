"""A caption longer than the text encoders read is named, with how much of it is cut off."""

from pathlib import Path
from typing import Any

import pytest

from lorasmith.cli.plan_table import plan_lines
from lorasmith.config.train import TrainConfig
from lorasmith.errors import DataError
from lorasmith.events import Event, Notice
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import plan_run, survey
from lorasmith.runs.prepare import prepare
from lorasmith.testing import pictures

LONG = "TOK" + " a" * 90 + " red dog"


def config_for(base: Path, folder: Path, captions: list[str], **text: Any) -> TrainConfig:
    pictures(folder / "pictures", len(captions), captions=captions)
    return TrainConfig.model_validate(
        {
            "model": {"base": str(base)},
            "text": text,
            "data": {"instance_images": folder / "pictures", "cache_folder": folder / "cache"},
            "schedule": {"steps": 1},
            "output": {"folder": folder / "run"},
        }
    )


def notices_of(config: TrainConfig) -> list[str]:
    heard: list[Event] = []
    prepare(config, survey(config), RunFolder(config.output.folder), heard.append)
    return [event.text for event in heard if isinstance(event, Notice)]


def test_what_is_cut_off_a_long_caption_is_said_before_training(tiny_base: Path, tmp_path: Path) -> None:
    # Two new tokens and 92 words make 94 tokens; 75 are read.
    assert notices_of(config_for(tiny_base, tmp_path, [LONG, "a TOK"])) == [
        "1 of 2 prompts are longer than 75 tokens and are cut: 19 tokens are not read "
        "(text.long_prompts = chunks reads them).",
        f'not read, the last 19 tokens: "{"a " * 17}red dog" of "{LONG[:119]}…"',
    ]


def test_a_caption_that_is_read_in_chunks_loses_nothing_and_says_so(tiny_base: Path, tmp_path: Path) -> None:
    assert notices_of(config_for(tiny_base, tmp_path, [LONG, "a TOK"], long_prompts="chunks")) == [
        "1 of 2 prompts are longer than 75 tokens and are read in chunks, up to 2 of them."
    ]


def test_many_long_captions_are_counted_and_five_are_shown(tiny_base: Path, tmp_path: Path) -> None:
    told = notices_of(config_for(tiny_base, tmp_path, [f"{LONG} {number}" for number in range(8)]))
    assert told[0].startswith("8 of 8 prompts are longer than 75 tokens and are cut: 160 tokens are not read")
    assert [one.startswith("not read, the last 20 tokens: ") for one in told[1:-1]] == [True] * 5
    assert told[-1] == "and 3 more, in plan.json"


@pytest.mark.parametrize(
    ("text", "row"),
    [
        ({}, "1 of 2 prompts are longer than 75 tokens and are cut: 19 tokens are not read"),
        ({"long_prompts": "chunks"}, "1 of 2 prompts are longer than 75 tokens and are read in chunks, up to 2"),
    ],
)
def test_the_plan_says_how_many_prompts_are_long_and_what_becomes_of_them(
    tiny_base: Path, tmp_path: Path, text: dict[str, Any], row: str
) -> None:
    plan = plan_run(config_for(tiny_base, tmp_path, [LONG, "a TOK"], **text))
    assert any(line.startswith("prompts ") and row in line for line in plan_lines(plan))
    (one,) = plan.as_json()["long_prompts"]
    assert (one["tokens"], one["unread"], one["chunks"]) == (94, 19, 2)


def test_short_captions_are_not_mentioned(tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, tmp_path, ["a TOK" + " a" * 72])
    assert notices_of(config) == []
    assert not any(line.startswith("prompts ") for line in plan_lines(plan_run(config)))


def test_escapes_in_what_is_cut_off_are_not_passed_on(tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, tmp_path, ["\x1b[31m TOK" + " a" * 90 + " \x1b[2J"])
    assert not any("\x1b" in one for one in notices_of(config))


def test_a_book_is_refused_where_all_of_it_would_be_read(tiny_base: Path, tmp_path: Path) -> None:
    config = config_for(tiny_base, tmp_path, ["TOK" + " a" * 1300], long_prompts="chunks")
    with pytest.raises(DataError, match=r"a prompt of 1302 tokens makes 18 chunks, and 16 are the most"):
        plan_run(config)
