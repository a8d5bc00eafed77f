"""ARCHITECTURE.md and README.md tell of what is there: every file they name exists, every package is named."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "lorasmith"
PAGE = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
LAYERS = PAGE.partition("## Layers")[2].partition("```")[2].partition("```")[0]


def test_every_file_to_read_first_exists() -> None:
    named = re.findall(r"^\| `(src/\S+\.py)` \|", PAGE, re.MULTILINE)
    assert len(named) == 4
    assert [name for name in named if not (ROOT / name).is_file()] == []


def test_every_path_it_mentions_exists() -> None:
    mentioned = re.findall(r"`((?:src|docs|tests|models|config|optim|objectives|export)/[\w./]*)`", PAGE)
    assert mentioned
    assert [path for path in mentioned if not ((ROOT / path).exists() or (SOURCE / path).exists())] == []


@pytest.mark.parametrize("package", sorted(path.parent.name for path in SOURCE.glob("*/__init__.py")))
def test_the_layers_name_every_package(package: str) -> None:
    assert re.search(rf"\b{package}\b", LAYERS)


def test_the_layers_are_in_the_order_that_imports_are_held_to() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contract = next(one for one in settings["tool"]["importlinter"]["contracts"] if one["type"] == "layers")
    rows = [{name.strip(" ()") for name in row.split("|")} for row in contract["layers"]]
    told = [line.split()[0] for line in LAYERS.splitlines() if line.strip() and line.split()[0] in set().union(*rows)]
    places = [next(index for index, row in enumerate(rows) if name in row) for name in told]
    assert places == sorted(places)


def test_the_readme_names_every_entry_of_the_root() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    file_map = readme.partition("## File map")[2].partition("```")[2].partition("```")[0]
    named = {line.split()[0].partition("/")[0] for line in file_map.splitlines() if line.strip()}
    assert [name for name in named if not (ROOT / name).exists()] == []
