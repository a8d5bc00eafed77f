"""No option is a promise without a reader: each field of the config is read somewhere outside of it."""

import re
from pathlib import Path

import pytest

import lorasmith
from lorasmith.config.flags import options

SOURCE = Path(lorasmith.__file__).parent
CODE = "\n".join(
    path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py") if "config" not in path.relative_to(SOURCE).parts
)


@pytest.mark.parametrize("path", [path for path in options() if path != "recipe"])
def test_an_option_is_read_by_what_it_is_for(path: str) -> None:
    field = path.rsplit(".", 1)[-1]
    assert re.search(rf"\.{field}\b", CODE), f"nothing reads {path}"
