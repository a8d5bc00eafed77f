"""The generated parts of docs/ are what the schema, the recipes and the table of flags say now."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    """tools/write_option_docs.py, which is no package."""
    spec = importlib.util.spec_from_file_location("write_option_docs", ROOT / "tools" / "write_option_docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", sorted(generator().GENERATED))
def test_a_generated_page_is_up_to_date(name: str) -> None:
    page = ROOT / "docs" / name
    assert page.read_text(encoding="utf-8") == generator().rewritten(page), f"{name} is out of date: run `make docs`"


def test_all_81_flags_of_the_script_are_on_the_page() -> None:
    page = (ROOT / "docs" / "coming-from-diffusers.md").read_text(encoding="utf-8")
    assert page.count("\n| `--") == 81
