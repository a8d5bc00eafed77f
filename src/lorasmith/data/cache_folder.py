"""Owns looking after caches: what is kept, whether it is whole, and removing it; touches no files but our own.

A file or folder counts as ours by its place and its name alone (64 hex digits for what is encoded or drawn, 32 for a
data set or a zip), so that whatever else lies in the folder is neither listed nor removed.
"""

import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, assert_never

from filelock import FileLock, Timeout
from PIL import Image, UnidentifiedImageError
from safetensors import SafetensorError

from lorasmith.data.archives import damaged_files, sums_beside, unpacked_files
from lorasmith.data.cache import default_cache_folder, encoder_of, read_stored
from lorasmith.data.dataset_pictures import damaged_pictures, is_kept_picture
from lorasmith.data.kept_results import damaged_results
from lorasmith.events import Emit, WorkDone, ignore

Kind = Literal["latents", "data set", "zip", "mask", "check", "drawn", "left over"]

PURPOSES: Final[dict[Kind, str]] = {
    "latents": "encoded pictures",
    "data set": "pictures of data sets",
    "zip": "zips, unpacked",
    "mask": "masks drawn from words",
    "check": "what checks measured",
    "drawn": "pictures drawn to evaluate",
    "left over": "of writes that were killed",
}
"""What each kind is for; all of it comes back by itself when it is needed again."""

_LATENTS: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.safetensors")
_MASK: Final = re.compile(r"[0-9a-f]{2}/[0-9a-f]{62}\.png")
_DRAWN: Final = re.compile(r"([0-9a-f]{2})/\1[0-9a-f]{62}\.png")
_LEFT_OVER: Final = re.compile(r"[0-9a-f]{2}/\.[0-9a-f]{62,64}(\.safetensors|\.png)?[.-]\d+-[0-9a-f]{8}\.part")
_RESULTS: Final = "examined.sqlite"
_DATA_SET: Final = re.compile(r"[0-9a-f]{32}")
_UNFINISHED: Final = re.compile(r"[0-9a-f]{32}\.part")
_DAY = 86_400.0


@dataclass(frozen=True)
class CacheFolders:
    """Where encoded pictures are, and where the folders of all other kinds are."""

    latents: Path
    others: Path


@dataclass(frozen=True)
class Kept:
    """One thing a cache keeps: a file, or the folder of a data set or a zip; `used` in seconds since 1970."""

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
        return CacheFolders(latents, latents.parent)
    return CacheFolders(folder, folder)


def kept_in(folders: CacheFolders) -> Iterator[Kept]:
    """Everything that is kept, one at a time, in order of its name."""
    yield from _files("latents", folders.latents, _LATENTS)
    yield from _files("mask", folders.others / "masks", _MASK)
    yield from _files("drawn", folders.others / "evaluation", _DRAWN)
    yield from _folders("data set", folders.others / "datasets")
    yield from _folders("zip", folders.others / "archives")
    results = folders.others / "checks" / _RESULTS
    if results.is_file() and not results.is_symlink():
        yield _kept_file("check", results, None)


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
        case "latents" | "mask" | "drawn" | "check":
            kept.path.unlink(missing_ok=True)
            return True
        case "left over" if kept.path.is_file():
            kept.path.unlink(missing_ok=True)
            return True
        case "data set" | "zip" | "left over":
            return _remove_folder(kept)
        case _:
            assert_never(kept.kind)


def _files(kind: Kind, folder: Path, ours: re.Pattern[str]) -> Iterator[Kept]:
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not re.fullmatch("[0-9a-f]{2}", inside.name) or inside.is_symlink() or not inside.is_dir():
            continue
        for file in sorted(inside.iterdir()):
            name = f"{inside.name}/{file.name}"
            if not file.is_file() or file.is_symlink():
                continue
            if ours.fullmatch(name):
                yield _kept_file(kind, file, encoder_of(file) if kind == "latents" else None)
            elif _LEFT_OVER.fullmatch(name):
                yield _kept_file("left over", file, None)


def _kept_file(kind: Kind, file: Path, encoder: str | None) -> Kept:
    found = file.stat()
    return Kept(kind, file, encoder, found.st_size, found.st_mtime)


def _folders(kind: Kind, folder: Path) -> Iterator[Kept]:
    for inside in sorted(folder.iterdir()) if folder.is_dir() else ():
        if inside.is_symlink() or not inside.is_dir():
            continue
        if _DATA_SET.fullmatch(inside.name) or _UNFINISHED.fullmatch(inside.name):
            sizes = sum(file.stat().st_size for file in inside.rglob("*") if file.is_file())
            found: Kind = kind if _DATA_SET.fullmatch(inside.name) else "left over"
            yield Kept(found, inside, None, sizes, _last_used(inside))


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
        case "zip":
            reason = "its bytes are not those that were unpacked"
            yield from (Damaged(kept, file, reason) for file in damaged_files(kept.path))
        case "mask" | "drawn":
            try:
                with Image.open(kept.path, formats=["PNG"]) as opened:
                    opened.verify()  # against the sum of each of its parts (PNG, 5.3)
            except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
                yield Damaged(kept, kept.path, str(error))
        case "check":
            yield from (Damaged(kept, kept.path, reason) for reason in damaged_results(kept.path))
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


def _remove_folder(kept: Kept) -> bool:
    folder = kept.path
    lock = FileLock(folder.with_name(f"{folder.name.removesuffix('.part')}.lock"), blocking=False)
    try:
        with lock:
            ours, strangers = _contents_of(kept)
            if strangers:
                for file in ours:
                    file.unlink()
            else:
                shutil.rmtree(folder)
                sums_beside(folder).unlink(missing_ok=True)
            return True
    except Timeout:
        return False


def _contents_of(kept: Kept) -> tuple[list[Path], list[Path]]:
    """The files that we wrote into a folder, and whatever else is there."""
    inside = list(kept.path.rglob("*"))
    if kept.kind == "zip":
        known = {kept.path / name for name in unpacked_files(kept.path)}
        ours = [path for path in inside if path in known and not path.is_symlink()]
        return ours, [path for path in inside if path not in known and not path.is_dir()]
    if kept.kind == "left over" and kept.path.parent.name == "archives":
        return [], []
    strangers = [path for path in inside if not is_kept_picture(path, kept.path)]
    return [path for path in inside if path.is_file() and path not in strangers], strangers
