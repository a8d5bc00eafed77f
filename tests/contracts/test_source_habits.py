"""What no module of `src` does: print outside the command line, open pickles, run text as code or a shell."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "lorasmith"
PICKLES = frozenset({"pickle", "dill", "cloudpickle", "shelve", "marshal"})
FORBIDDEN_CALLS = frozenset({"eval", "exec", "torch.load", "torch.save", "os.system"})


def sins_in(text: str, *, may_print: bool) -> Iterator[str]:
    """What a module does that none should, in words."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Import(names=names):
                yield from (f"import {alias.name}" for alias in names if alias.name.partition(".")[0] in PICKLES)
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in PICKLES:
                yield f"from {module} import"
            case ast.Call(func=function, keywords=keywords):
                called = ast.unparse(function)
                if called in FORBIDDEN_CALLS or (called == "print" and not may_print):
                    yield f"{called}(…)"
                yield from (
                    f"{keyword.arg}=True"
                    for keyword in keywords
                    if keyword.arg in ("shell", "allow_pickle") and ast.unparse(keyword.value) != "False"
                )
            case _:
                pass


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("*.py")), ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_a_module_neither_prints_nor_runs_strangers_code(path: Path) -> None:
    may_print = path.relative_to(SOURCE).parts[0] == "cli"
    assert list(sins_in(path.read_text(encoding="utf-8"), may_print=may_print)) == []


@pytest.mark.parametrize(
    "module",
    [
        "import pickle",
        "from pickle import loads",
        "torch.load(path)",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "run(line, shell=True)",
        "print(1)",
    ],
)
def test_a_sin_is_found(module: str) -> None:
    assert list(sins_in(module, may_print=False))


def test_every_module_opens_with_a_sentence() -> None:
    silent = [path for path in SOURCE.rglob("*.py") if not ast.get_docstring(ast.parse(path.read_text()))]
    assert silent == []
