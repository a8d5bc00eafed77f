"""`lorasmith merge` on the command line: what it refuses, with which exit code, and that nothing is written then."""

from pathlib import Path

import pytest

from lorasmith.cli.app import main


def left_with(arguments: list[str]) -> int | str | None:
    """The exit code of a command."""
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return left.value.code


def test_files_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = left_with(
        ["merge", str(tmp_path / "a.safetensors:0.8"), str(tmp_path / "b"), "--output", str(tmp_path / "c")]
    )
    assert code == 2
    assert "a.safetensors" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--method", "svd", "--rank", "0", "--density", "2", "--output", str(tmp_path / "c")]
    assert left_with(["merge", str(tmp_path / "a"), *options]) == 2
    said = capsys.readouterr().err
    assert all(text in said for text in ("1 adapter cannot be merged", "rank 0", "density 2.0"))


def test_a_method_that_nobody_knows_is_refused_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert left_with(["merge", "a", "b", "--method", "magic", "--output", str(tmp_path / "c")]) == 2
    assert "'magic'" in (said := capsys.readouterr().err)
    assert "null-space" in said


@pytest.mark.parametrize("strength", ["nan", "-1"])
def test_a_strength_that_is_none_is_refused(tmp_path: Path, strength: str) -> None:
    assert left_with(["merge", "a", "b", "--output", str(tmp_path / "c"), "--strength", strength]) == 2


def test_a_page_of_somebody_elses_is_not_replaced(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("mine")
    assert left_with(["merge", "a", "b", "--output", str(tmp_path / "c"), "--report", str(page)]) == 2
    assert page.read_text() == "mine"
