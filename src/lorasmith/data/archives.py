"""Owns a zip of pictures as a data set: unpacked once into the cache, and only what is safe to unpack.

No path outside, no links, nothing that grows beyond measure; names that would fall on each other are named, never
overwritten. What lies in folders inside of it comes to lie side by side, but for masks in a folder `masks`.
"""

import hashlib
import json
import logging
import shutil
import stat
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from filelock import FileLock

from lorasmith.atomic import naming_write_failures, write_json
from lorasmith.data.cache import default_cache_folder
from lorasmith.data.mask_names import MASK_FOLDER
from lorasmith.data.wording import listed, shown
from lorasmith.errors import DataError, Problem
from lorasmith.events import Emit, Notice, WorkDone

_log = logging.getLogger(__name__)

_FORMAT = "lorasmith-archive-2"
_TAKEN = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".txt", ".caption", ".jsonl", ".csv",
})  # fmt: skip
_MOST_FILES = 100_000
_MOST_BYTES = 50 * 2**30
_MOST_RATIO = 200
"""Pictures are packed already and text shrinks ten times or so; more is a bomb."""
_SMALL = 2**20
"""Files up to this size may shrink as they like."""
_CHUNK = 2**20


@dataclass(frozen=True)
class _Member:
    """One file of the archive and where it is unpacked to, inside of the folder."""

    info: zipfile.ZipInfo
    target: PurePosixPath


def is_archive(path: Path) -> bool:
    """Whether a path of pictures names a zip."""
    return path.suffix.lower() == ".zip" and path.is_file()


def unpacked(archive: Path, cache_folder: Path | None, emit: Emit) -> Path:
    """The folder with the archive's pictures and captions, by content: an exchanged archive is unpacked anew.

    So is what in the folder is no longer what was unpacked.

    Raises DataError naming everything in it that is not unpacked for safety's sake.
    """
    folder = _folder_for(archive, cache_folder)
    with naming_write_failures(folder):
        folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with FileLock(folder.with_name(f"{folder.name}.lock")):
            if not folder.is_dir():
                _unpack(archive, folder, emit).replace(folder)
            damaged = list(damaged_files(folder))
            if damaged:
                _mend(archive, folder, damaged, emit)
    return folder


def sums_beside(folder: Path) -> Path:
    """Where the hashes of what was unpacked into a folder are."""
    return folder.with_name(f"{folder.name}.sums.json")


def unpacked_files(folder: Path) -> dict[str, str]:
    """What was unpacked into a folder: paths inside of it and their SHA-256; none where nothing can be read of it."""
    try:
        said: Any = json.loads(sums_beside(folder).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    known = cast("dict[str, object]", said) if isinstance(said, dict) else {}
    safe = {name: sum for name, sum in known.items() if ".." not in Path(name).parts and not Path(name).is_absolute()}
    return {name: str(sum) for name, sum in safe.items()}


def damaged_files(folder: Path) -> Iterator[Path]:
    """The files in a folder that are not, to the bit, what was unpacked, or are not there any more."""
    for name, sha256 in unpacked_files(folder).items():
        file = folder / name
        if not file.is_file() or _sha256(file) != sha256:
            yield file


def _folder_for(archive: Path, cache_folder: Path | None) -> Path:
    with archive.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256")
    digest.update(_FORMAT.encode())
    root = cache_folder.expanduser() if cache_folder else default_cache_folder().parent
    return root / "archives" / digest.hexdigest()[:32]


def _mend(archive: Path, folder: Path, damaged: Sequence[Path], emit: Emit) -> None:
    names = listed([file.name for file in damaged])
    _log.warning("not what was unpacked from %s any more, and unpacked again: %s", shown(archive.name), names)
    part = _unpack(archive, folder, emit)
    for file in damaged:
        file.parent.mkdir(mode=0o700, exist_ok=True)
        (part / file.relative_to(folder)).replace(file)
    shutil.rmtree(part)


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _unpack(archive: Path, folder: Path, emit: Emit) -> Path:
    """Beside the folder, to be renamed in: a folder that is there is whole."""
    part = folder.with_name(f"{folder.name}.part")
    try:
        with zipfile.ZipFile(archive) as opened:
            members = _members(opened, archive, emit)
            if part.exists():
                shutil.rmtree(part)
            part.mkdir(mode=0o700)
            sums: dict[str, str] = {}
            for done, member in enumerate(members, start=1):
                sums[str(member.target)] = _write(opened, member, part / member.target)
                emit(WorkDone("unpacking", done, len(members)))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, UnicodeError) as error:
        raise DataError(f"the zip is damaged: {shown(str(error))}", where=shown(archive)) from error
    write_json(sums_beside(folder), sums)
    return part


def _members(opened: zipfile.ZipFile, archive: Path, emit: Emit) -> list[_Member]:
    """What is unpacked. Raises DataError for what must not be."""
    infos = [info for info in opened.infolist() if not info.is_dir() and not _is_litter(_path_of(info))]
    problems = [*_too_much(infos), *(problem for info in infos if (problem := _unsafe(info)))]
    if problems:
        raise DataError.of([_named(problem, archive) for problem in problems])
    taken = [_Member(info, _target(info)) for info in infos if _path_of(info).suffix.lower() in _TAKEN]
    _refuse_collisions(taken, archive)
    left = [info.filename for info in infos if _path_of(info).suffix.lower() not in _TAKEN]
    if left:
        emit(Notice(f"left in {shown(archive.name)}, neither pictures nor captions: {listed(left)}"))
    if not taken:
        raise DataError(f"there is no picture in {shown(archive.name)}", where=shown(archive))
    return taken


def _path_of(info: zipfile.ZipInfo) -> PurePosixPath:
    """Programs on Windows write backslashes, against the format."""
    return PurePosixPath(info.filename.replace("\\", "/"))


def _is_litter(path: PurePosixPath) -> bool:
    """What macOS and hidden folders leave in archives."""
    return "__MACOSX" in path.parts or any(part.startswith(".") and part != ".." for part in path.parts)


def _too_much(infos: Sequence[zipfile.ZipInfo]) -> Iterator[Problem]:
    if len(infos) > _MOST_FILES:
        yield Problem(f"the zip has {len(infos):,} files, over the limit of {_MOST_FILES:,}")
    total = sum(info.file_size for info in infos)
    if total > _MOST_BYTES:
        yield Problem(f"the zip would take {total / 2**30:.0f} GiB, over the limit of {_MOST_BYTES // 2**30}")


def _unsafe(info: zipfile.ZipInfo) -> Problem | None:
    name = shown(info.filename)
    path = _path_of(info)
    if not path.parts or path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in info.filename:
        return Problem(f"{name} points outside of the zip")
    if stat.S_ISLNK(info.external_attr >> 16):
        return Problem(f"{name} is a link")
    if info.flag_bits & 1:
        return Problem(f"{name} is encrypted", None, "Pack the pictures without a password.")
    if info.file_size > _SMALL and info.file_size > _MOST_RATIO * max(1, info.compress_size):
        return Problem(f"{name} would grow {info.file_size // max(1, info.compress_size):,} times, as bombs do")
    return None


def _target(info: zipfile.ZipInfo) -> PurePosixPath:
    path = _path_of(info)
    in_masks = len(path.parts) > 1 and path.parts[-2] == MASK_FOLDER
    return PurePosixPath(MASK_FOLDER, path.name) if in_masks else PurePosixPath(path.name)


def _refuse_collisions(members: Sequence[_Member], archive: Path) -> None:
    """Also names that differ in case alone: on many disks they are one."""
    by_target: defaultdict[str, list[str]] = defaultdict(list)
    for member in members:
        by_target[str(member.target).casefold()].append(member.info.filename)
    problems = [
        Problem(f"several files of the zip have one name: {listed(names)}", shown(archive), "Rename them.")
        for names in by_target.values()
        if len(names) > 1
    ]
    if problems:
        raise DataError.of(problems)


def _write(opened: zipfile.ZipFile, member: _Member, target: Path) -> str:
    """No more than the archive says of the file: what it says has been checked, and zipfile checks its sum.

    The SHA-256 of what was written.
    """
    digest = hashlib.sha256()
    target.parent.mkdir(mode=0o700, exist_ok=True)
    room = member.info.file_size
    with _opened(opened, member) as source, target.open("xb") as written:
        while chunk := source.read(min(_CHUNK, room + 1)):
            room -= len(chunk)
            if room < 0:
                raise zipfile.BadZipFile(f"{shown(member.info.filename)} is longer than it says")
            written.write(chunk)
            digest.update(chunk)
    return digest.hexdigest()


def _opened(opened: zipfile.ZipFile, member: _Member) -> IO[bytes]:
    """Where a damaged list of contents points outside of the file, looking there fails as the system says it."""
    try:
        return opened.open(member.info)
    except (OSError, ValueError) as error:
        raise zipfile.BadZipFile(f"{shown(member.info.filename)} is not where it says ({error})") from error


def _named(problem: Problem, archive: Path) -> Problem:
    return Problem(problem.what, shown(archive), problem.remedy or "Take it out of the zip.")
