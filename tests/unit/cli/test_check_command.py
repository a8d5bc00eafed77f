"""`lorasmith check`: what it prints, what it writes, and that training obeys it."""

import json
from pathlib import Path

import pytest

from lorasmith.cli.app import main
from lorasmith.testing import pictures


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with `pictures` in it, one of them broken."""
    pictures(tmp_path / "pictures", 4, captions=["a TOK one", "a TOK two", "a TOK three", "a TOK four"])
    (tmp_path / "pictures" / "picture-002.png").write_bytes(b"<html>")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as ending:
        main(words)
    assert isinstance(ending.value.code, int)
    return ending.value.code


def test_a_check_prints_what_it_found_and_writes_a_page_with_its_json(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("check", "pictures", "--data.resolution", "64") == 0
    out = capsys.readouterr()
    assert "leave out  picture-002.png: cannot be read: a web page" in out.out
    assert "4 pictures: 3 to keep, 0 to look at, 1 to leave out" in out.err
    assert (place / "lorasmith-check.html").read_text().startswith("<!doctype html>")
    assert json.loads((place / "lorasmith-check.json").read_text())["left_out"] == ["picture-002.png"]


def test_json_goes_to_standard_output_and_nothing_is_written(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("check", "pictures", "--data.resolution", "64", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["format"] == "lorasmith-check-1"
    assert not (place / "lorasmith-check.html").exists()


def test_the_concept_is_the_recipes_unless_it_is_said(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    del place
    for words, concept in (((), "object"), (("--recipe", "style"), "style"), (("--concept", "face"), "face")):
        assert run("check", "pictures", *words, "--json") == 0
        assert json.loads(capsys.readouterr().out)["concept"] == concept


def test_training_leaves_out_what_the_report_says_and_refuses_without(
    place: Path, tiny_base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("check", "pictures", "--data.resolution", "64")
    train = ("train", "--model.base", str(tiny_base), "--data.instance-images", "pictures", "--dry-run", "--json")
    assert run(*train) == 3
    capsys.readouterr()
    assert run(*train, "--leave-out", "lorasmith-check.json") == 0
    out = capsys.readouterr()
    assert json.loads(out.out)["instance_images"] == 3
    assert "1 picture left out, as data.leave_out says: picture-002.png" in out.err
    assert run(*train, "--leave-out", "picture-002.png", "--leave-out", "picture-001.png") == 0
    assert json.loads(capsys.readouterr().out)["instance_images"] == 2
    assert place.is_dir()


def test_a_missing_folder_a_missing_name_and_a_folder_of_nothing_are_refused(place: Path) -> None:
    (place / "empty").mkdir()
    assert run("check") == 2
    assert run("check", "nowhere") == 3
    assert run("check", "empty") == 3
    assert run("check", "pictures", "--report", "report.txt") == 2


def test_leaving_everything_out_is_refused(place: Path, tiny_base: Path) -> None:
    names = [word for path in (place / "pictures").glob("*.png") for word in ("--leave-out", path.name)]
    train = ("train", "--model.base", str(tiny_base), "--data.instance-images", "pictures", "--dry-run")
    assert run(*train, *names) == 3
