"""Owns `lorasmith cache`: shows what caches keep, verifies it and makes room; knows no format of theirs."""

import json
import re
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.progress_bar import showing
from lorasmith.cli.talk import give, give_exactly, say
from lorasmith.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from lorasmith.data.cache_folder import CacheFolders, KeptGroup

Folder = Annotated[
    Path | None,
    typer.Option("--folder", help="The folder that `data.cache_folder` names; the user's own cache without it."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="What lorasmith keeps between runs: encoded pictures, data sets, masks and so on.",
    )
    group.command("list")(list_kept)
    group.command("verify")(verify)
    group.command("prune")(prune)
    app.add_typer(group, name="cache")


def list_kept(folder: Folder = None, *, as_json: AsJson = False) -> None:
    """List what is kept: of which kind, by which encoder, how many, how large, last used when."""
    # Lazy here and below, because torch takes seconds and --help must not wait for it.
    from lorasmith.data.cache_folder import PURPOSES, grouped, kept_in

    folders = _folders(folder)
    groups = grouped(kept_in(folders))
    if as_json:
        give_exactly(json.dumps([_group_data(group) for group in groups], indent=2))
        return
    for group in groups:
        used = datetime.fromtimestamp(group.used).strftime("%Y-%m-%d %H:%M")
        encoder = f" encoder {_encoder(group.encoder)}," if group.kind == "latents" else ""
        what = f"{group.kind:<9} {group.count:>7} of {_size(group.bytes):>8}"
        give(f"{what}, {PURPOSES[group.kind]},{encoder} last used {used}")
    if not groups:
        say(f"nothing is kept in {folders.others}")


def verify(
    folder: Folder = None,
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Remove what is damaged, so that it is encoded or fetched again.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Read every file against its own hash and name those that are damaged."""
    from lorasmith.data.cache_folder import damaged_in, remove

    with showing() as emit:
        damaged = list(damaged_in(_folders(folder), emit))
    if as_json:
        rows = [{"file": str(one.file), "reason": one.reason, "removed": repair} for one in damaged]
        give_exactly(json.dumps(rows, indent=2))
    for kept in {one.kept.path: one.kept for one in damaged}.values() if repair else ():
        if not remove(kept):
            raise ConfigError(f"a process is working with {kept.path}", remedy="Repair once it has ended.")
    if repair:
        for one in damaged if not as_json else ():
            give(f"removed {one.file}: {one.reason}")
    elif damaged:
        remedy = "`lorasmith cache verify --repair` removes it, so that it is encoded or fetched again."
        raise DataError.of([Problem(f"damaged: {one.reason}", str(one.file), remedy) for one in damaged])
    if not damaged and not as_json:
        say("everything is what was written")


def prune(
    folder: Folder = None,
    *,
    older_than: Annotated[
        float | None, typer.Option(min=0, metavar="DAYS", help="What was not used for so many days.")
    ] = None,
    idle_encoders: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="All latents of encoders that were not used for so many days."),
    ] = None,
    over: Annotated[
        str | None, typer.Option(metavar="SIZE", help="What is over this size in all, such as 20G; oldest use first.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", help="Remove it; without this, only say what would be removed.")
    ] = False,
) -> None:
    """Say what is not worth keeping, and with --yes remove it. Other people's files are never touched."""
    from lorasmith.data.cache_folder import PruneRules, grouped, remove, to_prune

    rules = PruneRules(older_than, idle_encoders, None if over is None else _bytes(over))
    out = to_prune(_folders(folder), rules, now=time.time())
    for group in grouped(iter(out)):
        encoder = f" of encoder {_encoder(group.encoder)}" if group.kind == "latents" else ""
        give(f"{group.kind:<9} {group.count:>7} of {_size(group.bytes)}{encoder}")
    if not out:
        say("nothing to remove" if _any(rules) else "nothing to remove: give --older-than, --idle-encoders or --over")
    elif not yes:
        say("nothing was removed: add --yes to do it")
    else:
        busy = [kept.path for kept in out if not remove(kept)]
        say(f"removed {len(out) - len(busy)}")
        for path in busy:
            say(f"left alone, a process is working with it: {path}")


def _any(rules: object) -> bool:
    return any(value is not None for value in vars(rules).values())


def _folders(folder: Path | None) -> "CacheFolders":
    from lorasmith.data.cache_folder import cache_folders

    if folder is not None and not folder.expanduser().is_dir():
        raise ConfigError(f"there is no folder {folder}", where="--folder", remedy="Name the one of data.cache_folder.")
    return cache_folders(folder.expanduser() if folder else None)


def _encoder(fingerprint: str | None) -> str:
    return "unknown" if fingerprint is None else fingerprint[:12] or "unnamed"


def _size(count: int) -> str:
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} B"


def _bytes(text: str) -> int:
    """`20G`, `500 MB`, `1e6`. Raises ConfigError."""
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)b?\s*", text.lower())
    if found is None:
        raise ConfigError(f"{text!r} is not a size", where="--over", remedy="Write it as 20G or 500M.")
    return int(float(found[1]) * _UNITS[found[2]])


def _group_data(group: "KeptGroup") -> dict[str, object]:
    return dict(_fields(group))


def _fields(group: "KeptGroup") -> Iterator[tuple[str, object]]:
    yield "kind", group.kind
    yield "encoder", group.encoder
    yield "count", group.count
    yield "bytes", group.bytes
    yield "last_used", datetime.fromtimestamp(group.used).astimezone().isoformat(timespec="seconds")
