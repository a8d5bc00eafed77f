"""Owns the TOML file that an import comes to: each value with what the peer said, the rest as comments on top."""

import textwrap
from collections.abc import Iterator, Sequence

from lorasmith.config.flags import options
from lorasmith.config.toml_text import toml_value
from lorasmith.data.wording import shown
from lorasmith.importing.result import Carried, Imported

_WIDTH = 110


def toml_page(imported: Imported) -> str:
    """The config as TOML that `lorasmith train` reads."""
    return "\n".join([*_head(imported), *_values(imported)]) + "\n"


def _head(imported: Imported) -> Iterator[str]:
    yield from _comment(f"Imported by `lorasmith import {imported.peer}` from {', '.join(imported.files)}.")
    yield from _listed("Seen to", [f"{one.what}: {one.told}" for one in imported.traps])
    yield from _listed("Without equal", [f"{one.theirs}. Instead: {one.instead}" for one in imported.lost])
    yield from _listed("Unknown, not used", [str(one) for one in imported.unknown])


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield "#"
        yield f"# {title}:"
        for line in lines:
            yield from _comment(line, first="#   - ", rest="#     ")


def _comment(text: str, *, first: str = "# ", rest: str = "# ") -> list[str]:
    """Comment lines; nothing in the text can end one."""
    clean = shown(text, limit=2000)
    return textwrap.wrap(clean, _WIDTH, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False)


def _values(imported: Imported) -> Iterator[str]:
    order = {path: number for number, path in enumerate(options())}
    section = ""
    for one in sorted(imported.carried, key=lambda one: (one.path.partition(".")[0] == "", order[one.path])):
        inside, _, name = one.path.rpartition(".")
        if inside != section:
            section = inside
            yield f"\n[{section}]"
        yield f"{name} = {toml_value(one.path, one.value)}  # {_origin(imported, one)}"


def _origin(imported: Imported, one: Carried) -> str:
    remark = f" ({one.remark})" if one.remark else ""
    return f"{imported.peer}: {shown(one.theirs, limit=300)}{remark}"
