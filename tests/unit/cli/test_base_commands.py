"""`lorasmith base` says what a base reaches and on what that was measured, and builds one stage by stage."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

Ask = Callable[..., Any]
FEW = ("--prompts", "3", "--steps", "2", "--device", "cpu")


def test_the_gates_are_printed_with_what_they_were_measured_on(ask: Ask, tmp_path: Path) -> None:
    answer = ask("base", "evaluate", *FEW, "--sheet", str(tmp_path / "sheet.png"))
    assert answer.code == 0
    head, *lines = answer.data.splitlines()
    assert "measured on" in head
    names = ["thing", "style", "background", "all prompted factors", "size", "opening", "4 pictures of 20 steps"]
    assert [line[:24].strip() for line in lines[: len(names)]] == names
    assert all("3 pictures at guidance 4, 2 steps, seed 0, read by the oracle" in line for line in lines[:4])
    assert all("passed" in line or "MISSED" in line for line in lines[: len(names)])
    assert Image.open(tmp_path / "sheet.png").width > 3 * 64


def test_as_data_it_says_the_same_and_more(ask: Ask) -> None:
    answer = ask("base", "evaluate", *FEW, "--json")
    data = json.loads(answer.data)
    gates = {gate["name"]: gate for gate in data["gates"]}
    assert gates["size"]["passed"] is (gates["size"]["measured"] <= 40)
    assert 1 < gates["size"]["measured"] < 60
    assert gates["4 pictures of 20 steps"]["measured"] > 0
    assert data["readings"]["pictures"] == 3
    assert data["passed"] is all(gate["passed"] for gate in gates.values())


def test_a_base_that_draws_nothing_of_the_world_misses_its_gates(ask: Ask, tiny_base: Path) -> None:
    plain = ask("base", "evaluate", str(tiny_base), *FEW)
    assert plain.code == 0
    assert "MISSED" in plain.data
    assert ask("base", "evaluate", str(tiny_base), *FEW, "--check").code == 1


def test_a_base_that_is_not_there_is_refused(ask: Ask, tmp_path: Path) -> None:
    answer = ask("base", "evaluate", str(tmp_path / "nothing"))
    assert answer.code in (2, 3)
    assert "nothing" in answer.talk


def test_the_stages_of_a_build_are_listed_without_starting_it(ask: Ask, tmp_path: Path) -> None:
    workshop = tmp_path / "workshop"
    workshop.mkdir()
    (workshop / "stages.json").write_text('["prepare"]')
    answer = ask("base", "build", str(workshop), "--dry-run", "--time-share", "2")
    assert answer.code == 0
    assert answer.data.splitlines()[:3] == [
        "done    prepare",
        "12 min  vae, first sitting",
        "90 min  denoiser, first sitting",
    ]
    assert [path.name for path in workshop.iterdir()] == ["stages.json"]


def test_art_that_is_not_there_stops_a_build_before_it_starts(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "art").mkdir()
    answer = ask("base", "build", str(tmp_path / "workshop"), "--art", str(tmp_path / "art"))
    assert answer.code == 3
    assert "the Noto colour font" in answer.talk
    assert not (tmp_path / "workshop").exists()


def test_a_file_cannot_be_a_workshop(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    answer = ask("base", "build", str(tmp_path / "file"))
    assert answer.code == 2
    assert "is a file" in answer.talk
