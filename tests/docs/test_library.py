"""The library has the command line's words, imports nothing before it is used, and its guide's Python runs."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import lorasmith
from lorasmith import embedded
from lorasmith.cli.app import app
from lorasmith.testing import pictures

GUIDE = Path(__file__).parents[2] / "docs" / "library.md"


def offered() -> set[str]:
    """What `from lorasmith import *` would bring."""
    return set(vars(lorasmith)["__all__"])


def test_the_guides_python_runs(tmp_path: Path, tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "pictures", 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(embedded, "path", lambda: tiny_base)
    code = "\n".join(re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE))
    shorter = code.replace('"steps": 200', '"steps": 2').replace("seed=(0, 1))", "seed=(0, 1), steps=1)")
    assert shorter.count('"steps": 2,') == shorter.count("steps=1") == 1
    found: dict[str, Any] = {}
    exec(compile(shorter, str(GUIDE), "exec"), found)  # noqa: S102  # our own guide
    assert found["run"] == tmp_path / "mug"
    assert found["drawn"].sheet.is_file()
    assert found["inspection"].format == "kohya"
    assert (tmp_path / "comfyui.safetensors").is_file()
    assert found["merged"].merges


def test_each_word_is_a_command_too() -> None:
    commands = {command.name or getattr(command.callback, "__name__", "") for command in app.registered_commands}
    for word in ("train", "generate", "merge", "convert", "inspect"):
        assert callable(getattr(lorasmith, word))
        assert word in commands
    assert set(dir(lorasmith)) >= offered()


def test_a_word_that_is_not_there_is_an_error_of_attributes() -> None:
    with pytest.raises(AttributeError, match="trian"):
        getattr(lorasmith, "trian")  # noqa: B009  # a type checker knows that it is not there


def test_importing_it_imports_nothing_heavy() -> None:
    said = "import sys, lorasmith; print([name for name in ('torch', 'diffusers', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_types_are_of_the_same_names() -> None:
    stub = Path(lorasmith.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    typed = set(re.findall(r" as (\w+)$", stub, re.MULTILINE))
    assert typed == offered()
    for name in typed:
        home = getattr(lorasmith, name).__module__
        assert f"from {home} import {name} as {name}" in stub
