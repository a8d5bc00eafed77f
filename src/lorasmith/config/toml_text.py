"""Owns writing options as TOML that reads back as what it was; reads nothing."""

import json
from typing import cast

from lorasmith.config.flags import options


def toml_value(path: str, value: object) -> str:
    """The value of an option as TOML."""
    if value is None:
        return "false" if options()[path].kind == "section" else '"none"'
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case tuple():
            parts = cast("tuple[str, ...]", value)
            return f"[{', '.join(toml_text(part) for part in parts)}]"
        case dict():
            entries = cast("dict[str, int]", value)
            return f"{{{', '.join(f'{toml_text(name)} = {number}' for name, number in entries.items())}}}"
        case _:
            return toml_text(str(value))


def toml_text(text: str) -> str:
    """JSON's strings are TOML's, but for the control characters from 7F on, which JSON leaves as they are."""
    quoted = json.dumps(text, ensure_ascii=False)
    return "".join(f"\\u{ord(sign):04x}" if "\x7f" <= sign <= "\x9f" else sign for sign in quoted)
