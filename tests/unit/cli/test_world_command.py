"""`lorasmith world` lists what can be learnt and writes it for any trainer, never over other pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lorasmith.world import all_concepts, find_concept

Ask = Callable[..., Any]


def test_every_listed_concept_can_be_written(ask: Ask) -> None:
    listed = [line.split() for line in ask("world", "concepts").data.splitlines()]
    assert [(kind, find_concept(name)) for kind, name in listed] == [(one.kind, one) for one in all_concepts()]


def test_pictures_and_captions_are_written_side_by_side(ask: Ask, tmp_path: Path) -> None:
    answer = ask("world", "write", "octopus", str(tmp_path / "octopus"), "--count", "3", "--wording", "class-word")
    assert (answer.code, answer.data) == (0, "")
    assert "3 pictures of octopus" in answer.talk
    captions = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "octopus").glob("*.txt")}
    assert captions == dict.fromkeys(("01", "02", "03"), "a TOK animal emoji\n")
    assert Image.open(tmp_path / "octopus" / "03.png").size == (64, 64)


def test_another_seed_and_another_regime_write_other_pictures(ask: Ask, tmp_path: Path) -> None:
    for name, words in {"plain": (), "seed": ("--seed", "1"), "near": ("--regime", "near-duplicates")}.items():
        assert ask("world", "write", "robot", str(tmp_path / name), "--count", "2", *words).code == 0
    assert len({(tmp_path / name / "02.png").read_bytes() for name in ("plain", "seed", "near")}) == 3


@pytest.mark.parametrize("taken", ["a folder with something in it", "a file"])
def test_other_pictures_are_never_mixed_in_or_overwritten(ask: Ask, tmp_path: Path, taken: str) -> None:
    target = tmp_path / "mine"
    if taken == "a file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "01.png").write_text("mine")
    answer = ask("world", "write", "robot", str(target))
    assert answer.code == 2
    assert "is not an empty folder" in answer.talk
    assert (target if target.is_file() else target / "01.png").read_text() == "mine"


def test_an_unknown_concept_is_answered_with_the_known_ones(ask: Ask, tmp_path: Path) -> None:
    answer = ask("world", "write", "unicycle", str(tmp_path / "out"))
    assert answer.code == 2
    assert "'unicycle'" in answer.talk
    assert "unicorn" in answer.talk
    assert not (tmp_path / "out").exists()
