"""The notebook runs top to bottom on the embedded base in fewer steps; no kernel does it, since that is 30 packages."""

import ast
import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from lorasmith.cli.app import main
from lorasmith.run_folder import RunFolder

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "first_lora.ipynb"
SHORTER = {
    "train": {"--schedule.steps": "3", "--checkpoint.every": "1", "--validation.steps": "1"},
    "generate": {"--steps": "1"},
}


def cells(kind: str) -> list[str]:
    """The text of every cell of a kind."""
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return ["".join(cell["source"]) for cell in found if cell["cell_type"] == kind]


def shortened(arguments: list[str]) -> list[str]:
    """The same command, done in seconds: a flag that is there gets the shorter value, others are added."""
    shorter = SHORTER.get(arguments[0], {})
    kept = list(arguments)
    for flag in shorter:
        if flag in kept:
            place = kept.index(flag)
            del kept[place : place + 2]
    return [*kept, *(word for pair in shorter.items() for word in pair)]


def run_cell(source: str, names: dict[str, Any]) -> object:
    """Do what a cell does; the value it shows, if any. A cell is either one command of ours or Python."""
    if source.startswith("!"):
        program, *arguments = shlex.split(source[1:])
        assert program == "lorasmith"
        with pytest.raises(SystemExit) as left:
            main(shortened(arguments))
        assert left.value.code == 0, source
        return None
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102  # our own notebook
    if last is None:
        return None
    assert isinstance(last, ast.Expr)
    return eval(compile(ast.Expression(last.value), "cell", "eval"), names)


def test_the_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    names: dict[str, Any] = {}
    shown = [value for source in cells("code") if (value := run_cell(source, names)) is not None]
    sheets = [value for value in shown if isinstance(value, Image.Image)]
    assert len(sheets) == 4
    assert all("TOK" in caption for caption in names["captions"])
    assert len(names["losses"]) == 3
    assert RunFolder(tmp_path / "first-lora" / "teddy").state() == "finished"


def test_the_notebook_is_as_jupyter_wants_it_and_was_saved_without_results() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    ids = [cell["id"] for cell in notebook["cells"]]
    assert len(set(ids)) == len(ids)
    for cell in notebook["cells"]:
        assert set(cell) == {"cell_type", "id", "metadata", "source"} | (
            {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        )
        assert not cell.get("outputs")


def test_the_notebook_names_what_is_done_in_order() -> None:
    titles = [text.splitlines()[0] for text in cells("markdown") if text.startswith("#")]
    words = ("first", "Pictures", "Captions", "Recipe", "Training", "Curves", "Pictures of it", "Files", "SDXL")
    assert len(titles) == len(words)
    assert all(word in title for word, title in zip(words, titles, strict=True))
