"""Owns looking after caches: what is kept, whether it is whole, and removing it; touches no files but our own.

A file or folder counts as ours by its place and its name alone (64 hex digits for latents, 32 for a data set), so that
whatever else lies in the folder is neither listed nor removed.
"""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, assert_never

from filelock import FileLock, Timeout
from safetensors import SafetensorError

from lorasmith.data.cache import default_cache_folder, encoder_of, read_stored
from lorasmith.data.dataset_pictures import damaged_pictures, is_kept_picture
from lorasmith.events import Emit, WorkDone, ignore

Kind = Literal["latents", "data set", "left over"]
"""Encoded pictures, pictures of a data set, and what a write that was killed left behind."""

_LATENTS: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.safetensors")
_LEFT_OVER: Final = re.compile(r"[0-9a-f]{2}/\.[0-9a-f]{62}(\.safetensors)?[.-]\d+-[0-9a-f]{8}\.part")
_DATA_SET: Final = re.compile(r"[0-9a-f]{32}")
_UNFINISHED: Final = re.compile(r"[0-9a-f]{32}\.part")
_DAY = 86_400.0


@dataclass(frozen=True)
class CacheFolders:
    """Where encoded pictures are and where data sets' pictures are."""

    latents: Path
    datasets: Path


@dataclass(frozen=True)
class Kept:
    """One thing a cache keeps: a file of latents or a folder of a data set; `used` in seconds since 1970."""

    kind: Kind
    path: Path
    encoder: str | None
    """The fingerprint of what encoded the latents; None where the file does not say (it is older, or damaged)."""
    bytes: int
    used: float


@dataclass(frozen=True)
class KeptGroup:
    """All of one kind, and for latents of one encoder."""

    kind: Kind
    encoder: str | None
    count: int
    bytes: int
    used: float


@dataclass(frozen=True)
class Damaged:
    """A file that is not what was written."""

    kept: Kept
    file: Path
    reason: str


@dataclass(frozen=True)
class PruneRules:
    """What is not worth keeping; each rule that is given takes its share."""

    older_than_days: float | None = None
    """What was not used for so long."""
    idle_encoders_days: float | None = None
    """Everything of encoders none of whose latents were used for so long."""
    most_bytes: int | None = None
    """What is over this size in all, longest unused first."""


def cache_folders(folder: Path | None) -> CacheFolders:
    """The folders of `data.cache_folder`, or with None the user's own."""
    if folder is None:
        latents = default_cache_folder()
        return CacheFolders(latents, latents.parent / "datasets")
    return CacheFolders(folder, folder / "datasets")


def kept_in(folders: CacheFolders) -> Iterator[Kept]:
    """Everything that is kept, one at a time, in order of its name."""
    yield from _latents(folders.latents)
    yield from _data_sets(folders.datasets)


def grouped(everything: Iterator[Kept]) -> tuple[KeptGroup, ...]:
    """The same by kind and encoder; flat in memory however much there is."""
    groups: dict[tuple[Kind, str | None], KeptGroup] = {}
    for kept in everything:
        key = (kept.kind, kept.encoder)
        old = groups.get(key, KeptGroup(*key, count=0, bytes=0, used=0.0))
        groups[key] = KeptGroup(*key, count=old.count + 1, bytes=old.bytes + kept.bytes, used=max(old.used, kept.used))
    return tuple(groups.values())


def damaged_in(folders: CacheFolders, emit: Emit = ignore) -> Iterator[Damaged]:
    """Every file read against its own hash: those that are not, to the bit, what was written."""
    total = sum(1 for _ in kept_in(folders))
    for number, kept in enumerate(kept_in(folders), start=1):
        yield from _damage(kept)
        emit(WorkDone("verifying", number, total))


def to_prune(folders: CacheFolders, rules: PruneRules, *, now: float | None = None) -> tuple[Kept, ...]:
    """What the rules leave out, longest unused first; what killed writes left a day ago always is."""
    now = time.time() if now is None else now
    everything = sorted(kept_in(folders), key=lambda kept: (kept.used, str(kept.path)))
    idle = _idle_encoders(everything, rules.idle_encoders_days, now)
    out = {kept.path for kept in everything if _is_out(kept, rules, idle, now)}
    over = sum(kept.bytes for kept in everything if kept.path not in out) - (rules.most_bytes or 0)
    for kept in everything if rules.most_bytes is not None else ():
        if over > 0 and kept.path not in out and kept.kind != "left over":
            out.add(kept.path)
            over -= kept.bytes
    return tuple(kept for kept in everything if kept.path in out)


def remove(kept: Kept) -> bool:
    """Remove one thing; False where a process is working with it. What is not ours inside a folder stays."""
    match kept.kind:
        case "latents":
            kept.path.unlink(missing_ok=True)
            return True
        case "left over" if kept.path.is_file():
            kept.path.unlink(missing_ok=True)
            return True
        case "data set" | "left over":
            return _remove_data_set(kept.path)
        case _:
            assert_never(kept.kind)


def _latents(folder: Path) -> Iterator[Kept]:
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not re.fullmatch("[0-9a-f]{2}", inside.name) or inside.is_symlink() or not inside.is_dir():
            continue
        for file in sorted(inside.iterdir()):
            name = f"{inside.name}/{file.name}"
            if not file.is_file() or file.is_symlink():
                continue
            if _LATENTS.fullmatch(name):
                yield _kept_file("latents", file, encoder_of(file))
            elif _LEFT_OVER.fullmatch(name):
                yield _kept_file("left over", file, None)


def _kept_file(kind: Kind, file: Path, encoder: str | None) -> Kept:
    found = file.stat()
    return Kept(kind, file, encoder, found.st_size, found.st_mtime)


def _data_sets(folder: Path) -> Iterator[Kept]:
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        if inside.is_symlink() or not inside.is_dir():
            continue
        if _DATA_SET.fullmatch(inside.name) or _UNFINISHED.fullmatch(inside.name):
            kind: Kind = "data set" if _DATA_SET.fullmatch(inside.name) else "left over"
            sizes = sum(file.stat().st_size for file in inside.rglob("*") if file.is_file())
            yield Kept(kind, inside, None, sizes, _last_used(inside))


def _last_used(folder: Path) -> float:
    """When its lock was last taken, which every reading does; else when it was written."""
    lock = folder.with_name(f"{folder.name.removesuffix('.part')}.lock")
    return max(folder.stat().st_mtime, lock.stat().st_mtime if lock.is_file() else 0.0)


def _damage(kept: Kept) -> Iterator[Damaged]:
    match kept.kind:
        case "latents":
            try:
                read_stored(kept.path)
            except (SafetensorError, OSError, ValueError) as error:
                yield Damaged(kept, kept.path, str(error))
        case "data set":
            yield from (Damaged(kept, file, reason) for file, reason in damaged_pictures(kept.path))
        case "left over":
            return
        case _:
            assert_never(kept.kind)


def _idle_encoders(everything: Sequence[Kept], days: float | None, now: float) -> frozenset[str | None]:
    if days is None:
        return frozenset()
    used = grouped(kept for kept in everything if kept.kind == "latents")
    return frozenset(group.encoder for group in used if now - group.used > days * _DAY)


def _is_out(kept: Kept, rules: PruneRules, idle: frozenset[str | None], now: float) -> bool:
    age = now - kept.used
    if kept.kind == "left over":
        return age > _DAY
    if kept.kind == "latents" and kept.encoder in idle:
        return True
    return rules.older_than_days is not None and age > rules.older_than_days * _DAY


def _remove_data_set(folder: Path) -> bool:
    lock = FileLock(folder.with_name(f"{folder.name.removesuffix('.part')}.lock"), blocking=False)
    try:
        with lock:
            strangers = [file for file in folder.rglob("*") if not is_kept_picture(file, folder)]
            if not strangers:
                shutil.rmtree(folder)
                return True
            for file in [file for file in folder.rglob("*") if file.is_file() and file not in strangers]:
                file.unlink()
            return True
    except Timeout:
        return False
