"""Owns `lorasmith import`: another trainer's config in, ours and a report out; trains nothing."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lorasmith.cli.talk import give_exactly, say
from lorasmith.errors import ConfigError

if TYPE_CHECKING:
    from lorasmith.importing.result import Imported


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("import")(import_config)


def import_config(
    peer: Annotated[
        Literal["kohya", "onetrainer", "ai-toolkit", "simpletuner"], typer.Argument(help="Whose config it is.")
    ],
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE…", help="Its file, or its files; for kohya also a folder of `10_token` folders."),
    ],
    *,
    to: Annotated[Path | None, typer.Option("--to", help="Where to write the TOML; without it, it is printed.")] = None,
    gather: Annotated[
        Path | None,
        typer.Option("--gather", help="Lay its folders of pictures into this new one, with captions and repeats."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON, with the TOML in it.")] = False,
) -> None:
    """Turn another trainer's config into one of lorasmith, and say what was carried over and what was not."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.atomic import write_text
    from lorasmith.importing import import_config as read
    from lorasmith.importing.toml_page import toml_page

    if to is not None and to.exists():
        raise ConfigError(f"{to} exists already", where="--to", remedy="Name another file, or remove it.")
    imported = read(peer, files, gather_to=gather)
    page = toml_page(imported)
    if to is not None:
        write_text(to, page)
    if as_json:
        give_exactly(json.dumps({**imported.as_json(), "toml": page}, indent=2))
        return
    if to is None:
        give_exactly(page.rstrip("\n"))
    for line in _report(imported, to):
        say(line)


def _report(imported: "Imported", to: Path | None) -> Iterator[str]:
    yield f"carried over: {len(imported.carried)} options from {', '.join(imported.files)}"
    for one in imported.carried if to is not None else ():
        yield f"  {one.path} = {one.value}  ({one.theirs})"
    yield from _listed("seen to, because it would have gone wrong in silence:", [
        f"{one.what}: {one.told}" for one in imported.traps
    ])  # fmt: skip
    yield from _listed("without equal:", [f"{one.theirs}. Instead: {one.instead}" for one in imported.lost])
    yield from _listed("unknown and not used:", [str(one) for one in imported.unknown])
    if to is not None:
        yield f"written: {to}. `lorasmith train {to} --dry-run` says what it would do."


def _listed(title: str, lines: Sequence[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  - {line}" for line in lines)
