"""Owns `lorasmith config`: what a command line comes to, and the reference script's flags; trains nothing."""

import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Annotated

import typer
from pydantic import BaseModel

from lorasmith.cli.talk import clean, give, give_exactly
from lorasmith.cli.train_command import Words, load
from lorasmith.config.flags import flatten, options
from lorasmith.config.load import Loaded
from lorasmith.config.origin import Origin
from lorasmith.config.reference_flags import REFERENCE_FLAGS, ReferenceFlag
from lorasmith.config.toml_text import toml_value

_WIDTH = 110


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Look at options without training.")
    group.command("show", context_settings={"ignore_unknown_options": True})(show)
    group.command("flags")(flags)
    app.add_typer(group, name="config")


def show(
    words: Words = None,
    *,
    origins: Annotated[bool, typer.Option("--origins", help="Say where each value came from.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print what files and flags come to, as TOML to use again."""
    loaded = load(words or [])
    if as_json:
        give_exactly(json.dumps(_as_data(loaded, with_origins=origins), indent=2))
    else:
        give_exactly("\n".join(toml_lines(loaded.config, loaded.origins if origins else {})))


def flags(as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the reference script's flags and ours for them."""
    if as_json:
        give_exactly(json.dumps([_flag_data(flag) for flag in REFERENCE_FLAGS.values()], indent=2))
        return
    for flag in REFERENCE_FLAGS.values():
        give(_flag_text(flag))


def toml_lines(config: BaseModel, origins: Mapping[str, Origin]) -> Iterator[str]:
    """The config as TOML, each value with its origin as a comment where one is given."""
    section = ""
    # Values of the whole run stand before the first table, or they would belong to it.
    for path, value in sorted(flatten(config), key=lambda leaf: "." in leaf[0]):
        inside, _, name = path.rpartition(".")
        if inside != section:
            section = inside
            yield f"\n[{section}]"
        origin = origins.get(path)
        yield f"{name} = {toml_value(path, value)}" + (f"  # {clean(str(origin))}" if origin else "")


def _as_data(loaded: Loaded, *, with_origins: bool) -> object:
    config = loaded.config.model_dump(mode="json")
    if not with_origins:
        return config
    return {"config": config, "origins": {path: str(origin) for path, origin in loaded.origins.items()}}


def _flag_text(flag: ReferenceFlag) -> str:
    ours = ", ".join(options()[path].flag for path in flag.paths)
    first = f"--{flag.name}  [{flag.status}]" + (f"  {ours}" if ours else "")
    note = textwrap.fill(flag.note, _WIDTH, initial_indent="    ", subsequent_indent="    ")
    return f"{first}\n{note}" if flag.note else first


def _flag_data(flag: ReferenceFlag) -> dict[str, object]:
    return {"flag": f"--{flag.name}", "status": flag.status, "options": list(flag.paths), "note": flag.note}
