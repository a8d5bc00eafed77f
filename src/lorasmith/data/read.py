"""Owns how a folder becomes examples; refuses folders, captions and pictures that cannot be meant.

Broken pictures are found here, before training starts, because each one is decoded to its end.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Literal

from lorasmith.data.captions import (
    METADATA_FILES,
    SIDECAR_SUFFIXES,
    Caption,
    Captions,
    agreed,
    read_metadata,
    read_sidecar,
    sidecars_of,
)
from lorasmith.data.decode import colour_of, content_of, looks_like_a_picture, probe
from lorasmith.data.examples import BrokenPicture, Example, Role
from lorasmith.data.mask_names import MASK_FOLDER, is_called_a_mask
from lorasmith.data.wildcards import Wording
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError, Problem
from lorasmith.sizes import Size

_PICTURE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp"})
_UNREAD_PICTURE_SUFFIXES = frozenset({".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl"})
_MOST_RATIO = 20
"""Pictures longer and thinner than this grow to gigabytes when their short side is resized to the target."""
_SILENT = frozenset({"thumbs.db", "desktop.ini", *METADATA_FILES})


@dataclass(frozen=True)
class Reading:
    """What a folder holds: readable pictures with their captions, broken ones, and what a person should know."""

    examples: tuple[Example, ...]
    broken: tuple[BrokenPicture, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Listing:
    """The files of a folder by what they are: pictures by id, and names of what is left alone."""

    pictures: dict[str, Path]
    others: tuple[str, ...]
    folders: tuple[str, ...]


@dataclass(frozen=True)
class _Chosen:
    """The captions that pictures get, by id, with what has to be said about them."""

    by_id: dict[str, Caption]
    notes: tuple[str, ...]
    problems: tuple[Problem, ...]


def read_examples(
    folder: Path,
    *,
    prompt: str | None,
    caption_column: str | None,
    role: Role,
    pixel_limit: int,
    background: str,
    leave_out: Collection[str] = (),
) -> Reading:
    """All pictures of `folder` in order of their names, each with its own caption or else the `prompt` for all.

    A caption is looked for in `metadata.jsonl` or `metadata.csv` (in `caption_column`, else in text, prompt or
    caption), then in a `.txt` or `.caption` file of the picture's name. Pictures whose ids (`spelled`) are in
    `leave_out` are not even opened. Raises DataError with all that is wrong.
    """
    colour_of(background)
    _refuse_missing(folder)
    captions = read_metadata(folder, column=caption_column)
    return read_captioned(folder, captions, prompt=prompt, role=role, pixel_limit=pixel_limit, leave_out=leave_out)


def read_captioned(
    folder: Path,
    captions: Captions,
    *,
    prompt: str | None,
    role: Role,
    pixel_limit: int,
    leave_out: Collection[str] = (),
) -> Reading:
    """The same where it is known already what a metadata file would say."""
    everything = _listed_files(folder, captions)
    _refuse_nothing(folder, everything, captions)
    listing = _without(everything, leave_out)
    chosen = _choose_captions(listing, captions, prompt)
    _refuse_problems([*captions.problems, *chosen.problems])
    examples, broken = _probe_all(listing, chosen, role, pixel_limit)
    _refuse_all_broken(folder, examples, broken)
    return Reading(
        examples,
        broken,
        (*chosen.notes, *_notes_on(listing), *_notes_on_copies(examples), *_notes_on_left_out(everything, leave_out)),
    )


def refuse_or_leave_out(reading: Reading, policy: Literal["refuse", "leave_out"], where: str) -> tuple[Example, ...]:
    """The readable examples; under `refuse` a DataError names each broken picture with its reason."""
    if reading.broken and policy == "refuse":
        problems = [_problem_of(broken) for broken in reading.broken]
        last = Problem(
            f"{counted(len(problems), 'picture')} cannot be read",
            shown(where),
            "Mend or remove what is named above, or set data.broken_pictures to leave_out.",
        )
        raise DataError.of([*problems, last])
    return reading.examples


def picture_files(folder: Path) -> list[Path]:
    """The files in `folder` that are, or call themselves, pictures; in order of their names."""
    return [path for _, path in sorted(_listed_files(folder, Captions()).pictures.items())]


def spelled(id: str) -> str:
    """An id as `leave_out` names it: what is no UTF-8 in a file's name can be written down nowhere, and becomes `?`."""
    return id.encode("utf-8", "replace").decode()


def _refuse_missing(folder: Path) -> None:
    if not folder.exists():
        parent = folder.parent
        near = "" if parent.is_dir() else f" {shown(parent)} does not exist either."
        raise DataError(f"the folder {shown(folder)} does not exist", remedy=f"Check the path.{near}")
    if not folder.is_dir():
        raise DataError(f"{shown(folder)} is a file, not a folder", remedy="Give the folder that the pictures are in.")


def _listed_files(folder: Path, metadata: Captions) -> _Listing:
    visible = sorted(path for path in folder.iterdir() if not _is_out_of_sight(path))
    pictures = {path.name: path for path in visible if _calls_itself_a_picture(path)}
    pictures |= {id: folder / id for id in metadata.by_id}
    files = [path for path in visible if not path.is_dir() and path.name not in pictures]
    captions = {sidecar.name for picture in pictures.values() for sidecar in sidecars_of(picture)}
    known = captions | {metadata.file}
    others = [path.name for path in files if path.name not in known and path.name.lower() not in _SILENT]
    return _Listing(
        dict(sorted(pictures.items())), tuple(others), tuple(path.name for path in visible if path.is_dir())
    )


def _is_out_of_sight(path: Path) -> bool:
    """Hidden files, and masks: a mask that was learnt as a picture would be nothing but white shapes."""
    return path.name.startswith(".") or is_called_a_mask(path) or (path.is_dir() and path.name == MASK_FOLDER)


def _without(listing: _Listing, leave_out: Collection[str]) -> _Listing:
    kept = {id: path for id, path in listing.pictures.items() if spelled(id) not in leave_out}
    if listing.pictures and not kept:
        raise DataError(
            f"all {counted(len(listing.pictures), 'picture')} are left out", where="data.leave_out",
            remedy="Take back those that are good enough, or add better ones.",
        )  # fmt: skip
    return replace(listing, pictures=kept)


def _calls_itself_a_picture(path: Path) -> bool:
    """By its suffix, or else by its first bytes; links to nowhere count, because somebody meant a picture."""
    if path.suffix.lower() in _PICTURE_SUFFIXES | _UNREAD_PICTURE_SUFFIXES:
        return path.is_file() or path.is_symlink()
    known = path.suffix.lower() in SIDECAR_SUFFIXES or path.name.lower() in _SILENT
    return not known and path.is_file() and looks_like_a_picture(path)


def _refuse_nothing(folder: Path, listing: _Listing, metadata: Captions) -> None:
    if listing.pictures or metadata.problems:
        return
    there = [*listing.others, *(f"{name}/" for name in listing.folders)]
    found = f"only {listed(there)}" if there else "nothing at all"
    remedy = "Put jpg, png, webp or bmp files into it."
    if listing.folders:
        remedy += " Sub-folders are not searched: give the one that the pictures are in."
    raise DataError(f"the folder {shown(folder)} has no pictures in it, {found}", remedy=remedy)


def _choose_captions(listing: _Listing, metadata: Captions, prompt: str | None) -> _Chosen:
    problems: list[Problem] = []
    found: dict[str, Caption | None] = {}
    for id, path in listing.pictures.items():
        beside, trouble = read_sidecar(path)
        said = [caption for caption in (metadata.by_id.get(id), beside) if caption is not None]
        found[id], disagreement = agreed(id, said)
        problems += [*trouble, *disagreement]
    empty = [id for id, caption in found.items() if caption is not None and not caption.text]
    bare = [id for id, caption in found.items() if caption is None]
    if prompt is None or not prompt.strip():
        problems += _without_any_text(empty, bare) if not problems else []
    for_all = Caption((prompt or "").strip(), "data.instance_prompt")
    by_id = {id: caption if caption and caption.text else for_all for id, caption in found.items()}
    return _Chosen(by_id, _notes_on_prompt(empty, bare, len(found)), tuple(problems))


def _without_any_text(empty: Sequence[str], bare: Sequence[str]) -> list[Problem]:
    remedy = "Write captions, or give data.instance_prompt for all pictures without one."
    told = ((bare, "no caption, and there is no prompt for all"), (empty, "an empty caption, and there is no prompt"))
    return [
        Problem(f"{counted(len(ids), 'picture')} with {what}: {listed(ids)}", None, remedy) for ids, what in told if ids
    ]


def _notes_on_prompt(empty: Sequence[str], bare: Sequence[str], total: int) -> tuple[str, ...]:
    """That every picture takes the prompt is what a prompt is for; that some do may not be meant."""
    notes: list[str] = []
    if empty:
        notes.append(f"{counted(len(empty), 'caption')} empty, so the prompt is used: {listed(empty)}")
    if bare and len(bare) < total:
        notes.append(f"{counted(len(bare), 'picture')} without a caption, so the prompt is used: {listed(bare)}")
    return tuple(notes)


def _refuse_problems(problems: Sequence[Problem]) -> None:
    if problems:
        raise DataError.of(problems)


def _probe_all(
    listing: _Listing, chosen: _Chosen, role: Role, pixel_limit: int
) -> tuple[tuple[Example, ...], tuple[BrokenPicture, ...]]:
    examples: list[Example] = []
    broken: list[BrokenPicture] = []
    for id, path in listing.pictures.items():
        try:
            _refuse_unwritable(id, path)
            size = _refuse_thin(probe(path, pixel_limit=pixel_limit), path)
        except DataError as error:
            broken.append(BrokenPicture(path, error.problems[0].what))
        else:
            caption = chosen.by_id[id]
            wordings = tuple(Wording((text,)) for text in caption.several)
            example = Example(id, path, caption.text, role, size, content_of(path), wordings, caption.lines)
            examples.append(example)
    return tuple(examples), tuple(broken)


def _refuse_unwritable(id: str, path: Path) -> None:
    """Draws, records and exports name pictures in UTF-8; a name that is not would fail in the middle of a run."""
    try:
        id.encode()
    except UnicodeEncodeError as error:
        raise DataError("its name is not UTF-8", where=shown(path), remedy="Rename the file.") from error


def _refuse_thin(size: Size, path: Path) -> Size:
    if max(size) > _MOST_RATIO * min(size):
        raise DataError(f"{size} pixels are too long and thin to be cut from (over {_MOST_RATIO}:1)", where=shown(path))
    return size


def _refuse_all_broken(folder: Path, examples: Sequence[Example], broken: Sequence[BrokenPicture]) -> None:
    if not examples:
        problems = [_problem_of(one) for one in broken]
        last = Problem(f"no picture in {shown(folder)} can be read", None, "Put jpg, png, webp or bmp files into it.")
        raise DataError.of([*problems, last])


def _problem_of(broken: BrokenPicture) -> Problem:
    return Problem(f"{shown(broken.path.name)}: {broken.reason}")


def _notes_on(listing: _Listing) -> list[str]:
    notes: list[str] = []
    if listing.others:
        notes.append(f"{counted(len(listing.others), 'file')} left alone, not a picture: {listed(listing.others)}")
    outside = [name for name in listing.folders if not any(id.startswith(f"{name}/") for id in listing.pictures)]
    if outside:
        notes.append(f"{counted(len(outside), 'sub-folder')} not searched: {listed(outside)}")
    return notes


def _notes_on_left_out(listing: _Listing, leave_out: Collection[str]) -> list[str]:
    there = {spelled(id) for id in listing.pictures}
    out, unknown = (sorted(there & set(leave_out)), sorted(set(leave_out) - there))
    notes = [f"{counted(len(out), 'picture')} left out, as data.leave_out says: {listed(out)}"] if out else []
    if unknown:
        notes.append(f"data.leave_out names {counted(len(unknown), 'picture')} that are not there: {listed(unknown)}")
    return notes


def _notes_on_copies(examples: Sequence[Example]) -> list[str]:
    by_content = groupby(sorted(examples, key=lambda one: (one.content, one.id)), key=lambda one: one.content)
    copies = sorted([one.id for one in same] for _, same in by_content)
    return [f"the same picture {len(ids)} times: {listed(ids)}" for ids in copies if len(ids) > 1]
