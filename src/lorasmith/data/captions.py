"""Owns where captions stand beside pictures: a metadata file, or a file of the same name; refuses contradictions.

All that is wrong is collected as problems, so that a person mends it in one go.
"""

import csv
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import cast

from lorasmith.data.wording import listed, shown
from lorasmith.errors import Problem

METADATA_FILES = ("metadata.jsonl", "metadata.csv")
SIDECAR_SUFFIXES = (".txt", ".caption")
USUAL_COLUMNS = ("text", "prompt", "caption")
"""Where captions are looked for when no column is named."""
_FILE_NAME = "file_name"
_IMAGE_FILE = "image_file"
_LONGEST_HEADER = 10_000


@dataclass(frozen=True)
class Caption:
    """A caption and the file (with its line) that it stands in.

    `several` are all captions, the first being `text`, where a metadata file has a list of them; `lines` those of a
    caption file, which `text` has joined.
    """

    text: str
    source: str
    several: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Captions:
    """What a folder's metadata file says: captions by picture id (its path inside the folder), and what is wrong."""

    by_id: Mapping[str, Caption] = field(default_factory=dict[str, Caption])
    file: str | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True)
class _Row:
    values: Mapping[str, object]
    place: str


def read_metadata(folder: Path, *, column: str | None) -> Captions:
    """The captions in `metadata.jsonl` or `metadata.csv`, else in a table of captions; none when there is no such file.

    A table of captions is what cog-sdxl takes: `captions.csv` (or so) with the columns `image_file` and `caption`.
    """
    files = [folder / name for name in METADATA_FILES if (folder / name).is_file()] or _caption_tables(folder)
    match files:
        case []:
            return Captions(problems=_column_without_file(folder, column))
        case [file]:
            return _read_file(file, folder, column)
        case _:
            names = " and ".join(shown(file.name) for file in files)
            problem = Problem(f"there are both {names}", shown(folder), "Keep the one that is meant.")
            return Captions(problems=(problem,))


def _caption_tables(folder: Path) -> list[Path]:
    """Files called `*caption*.csv` whose first line names pictures in cog-sdxl's way."""
    named = [path for path in sorted(folder.glob("*.[cC][sS][vV]")) if "caption" in path.name.lower()]
    return [path for path in named if path.is_file() and _IMAGE_FILE in _first_line(path)]


def _first_line(file: Path) -> list[str]:
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.reader([opened.readline(_LONGEST_HEADER)])
            return [cell.strip() for row in rows for cell in row]
    except (OSError, UnicodeDecodeError, csv.Error):
        return []


def read_sidecar(picture: Path) -> tuple[Caption | None, list[Problem]]:
    """The caption in the `.txt` or `.caption` file of the picture's name, if there is one."""
    found: list[Caption] = []
    for file in sidecars_of(picture):
        text = _text_of(file)
        if isinstance(text, Problem):
            return None, [text]
        found.append(Caption(tidy(text), file.name, lines=_lines_of(text)))
    return agreed(picture.name, found)


def sidecars_of(picture: Path) -> list[Path]:
    """The caption files of the picture's name that are there."""
    return [file for suffix in SIDECAR_SUFFIXES if (file := picture.with_suffix(suffix)).is_file()]


def agreed(picture: str, captions: Sequence[Caption]) -> tuple[Caption | None, list[Problem]]:
    """The one caption that all of them say (empty ones do not count), or what they disagree about."""
    said = [caption for caption in captions if caption.text]
    if len({caption.text for caption in said}) > 1:
        told = "; ".join(f"{shown(one.source)} says {shown(one.text, limit=60)!r}" for one in said)
        return None, [Problem(f"{shown(picture)} has captions that differ: {told}", None, "Keep one of them.")]
    return (said or [*captions] or [None])[0], []


def tidy(text: str) -> str:
    """One line that can be written down: runs of white space become one space, half surrogate pairs a `?`."""
    return " ".join(text.encode("utf-8", "replace").decode().split())


def columns_named(said: str, there: Collection[str]) -> list[str]:
    """The columns that `text, prompt` means; a name that is there as it stands is one column."""
    return [said] if said in there else [name.strip() for name in said.split(",") if name.strip()] or [said]


def together(captions: Sequence[Caption]) -> Caption:
    """The captions of several columns as one picture's; empty ones are left out."""
    said = [text for caption in captions for text in caption.several or (caption.text,) if text]
    if not said:
        return captions[0]
    return Caption(said[0], captions[0].source, several=tuple(dict.fromkeys(said)) if len(set(said)) > 1 else ())


def _lines_of(text: str) -> tuple[str, ...]:
    lines = tuple(line for line in map(tidy, text.splitlines()) if line)
    return lines if len(lines) > 1 else ()


def _column_without_file(folder: Path, column: str | None) -> tuple[Problem, ...]:
    if column is None:
        return ()
    what = f"there is no {' or '.join(METADATA_FILES)} that could have the column {shown(column)!r}"
    return (Problem(what, shown(folder), "Add the file, or leave data.caption_column out."),)


def _read_file(file: Path, folder: Path, column: str | None) -> Captions:
    text = _text_of(file)
    if isinstance(text, Problem):
        return Captions(file=file.name, problems=(text,))
    rows, problems = _split(_rows_of_csv(text, file) if file.suffix.lower() == ".csv" else _rows_of_jsonl(text))
    columns = _caption_columns(rows, column, file)
    if problems or isinstance(columns, Problem):
        wrong = [columns] if isinstance(columns, Problem) and (rows or not problems) else []
        return Captions(file=file.name, problems=(*problems, *wrong))
    return _collected(rows, columns, folder, file)


def _text_of(file: Path) -> str | Problem:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        what = f"byte {error.start} is not UTF-8"
        return Problem(what, shown(file), "Save the file as UTF-8.")
    except OSError as error:
        return Problem(f"the file cannot be read: {error.strerror}", shown(file))


def _split(read: Iterator[_Row | Problem]) -> tuple[list[_Row], list[Problem]]:
    everything = list(read)
    rows = [row for row in everything if isinstance(row, _Row)]
    return rows, [problem for problem in everything if isinstance(problem, Problem)]


def _rows_of_jsonl(text: str) -> Iterator[_Row | Problem]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield _row_of_json(line, f"{METADATA_FILES[0]}:{number}")


def _row_of_json(line: str, place: str) -> _Row | Problem:
    try:
        values: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        said = error.msg if isinstance(error, json.JSONDecodeError) else "not JSON"
        return Problem(f"the line is not JSON: {said}", place, "Each line is one object in braces.")
    if not isinstance(values, dict):
        return Problem(f"the line is not an object: {shown(line, limit=40)}", place, 'Write {"file_name": "…", …}.')
    return _Row(cast(dict[str, object], values), place)


def _rows_of_csv(text: str, file: Path) -> Iterator[_Row | Problem]:
    reader = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            place = f"{shown(file.name)}:{reader.line_num}"
            if not cells:
                continue
            if header is None:
                header = _in_our_words([cell.strip() for cell in cells])
            elif len(cells) != len(header):
                what = f"the line has {len(cells)} columns, the header {len(header)}"
                yield Problem(what, place, "Put captions with commas into double quotes.")
            else:
                yield _Row(_with_place_in_folder(dict(zip(header, cells, strict=True)), file), place)
    except csv.Error as error:
        yield Problem(f"the line is not CSV: {error}", f"{shown(file.name)}:{reader.line_num}")


def _in_our_words(header: list[str]) -> list[str]:
    return header if _FILE_NAME in header else [_FILE_NAME if name == _IMAGE_FILE else name for name in header]


def _with_place_in_folder(values: dict[str, str], file: Path) -> dict[str, str]:
    """A table of captions may name pictures by where they lay before they were packed."""
    said = values.get(_FILE_NAME, "").strip()
    name = PurePosixPath(said.replace("\\", "/")).name
    is_elsewhere = file.name not in METADATA_FILES and said != name and (file.parent / name).is_file()
    return {**values, _FILE_NAME: name} if name and is_elsewhere else values


def _caption_columns(rows: Sequence[_Row], column: str | None, file: Path) -> list[str] | Problem:
    columns = list(dict.fromkeys(name for row in rows for name in row.values))
    there = f"The columns are: {listed(columns, limit=20)}." if columns else "It has no lines."
    if _FILE_NAME not in columns:
        return Problem(f"no column {_FILE_NAME!r} says which picture a line is about", shown(file), there)
    if column is not None:
        wanted = columns_named(column, columns)
        missing = [name for name in wanted if name not in columns]
        return Problem(f"there is no column {shown(missing[0])!r}", shown(file), there) if missing else wanted
    usual = next((name for name in USUAL_COLUMNS if name in columns), None)
    if usual is None:
        what = f"none of the columns {', '.join(USUAL_COLUMNS)} holds the captions"
        return Problem(what, shown(file), f"{there} Name one with data.caption_column.")
    return [usual]


def _collected(rows: Sequence[_Row], columns: Sequence[str], folder: Path, file: Path) -> Captions:
    found: dict[str, list[Caption]] = {}
    problems: list[Problem] = []
    for row in rows:
        picture, captions = _picture_of(row, folder), [_caption_of(row, column) for column in columns]
        problems.extend(one for one in (picture, *captions) if isinstance(one, Problem))
        said = [caption for caption in captions if isinstance(caption, Caption)]
        if isinstance(picture, str) and len(said) == len(captions):
            found.setdefault(picture, []).append(together(said))
    by_id: dict[str, Caption] = {}
    for picture, captions in found.items():
        caption, disagreement = agreed(picture, captions)
        problems.extend(disagreement)
        if caption is not None:
            by_id[picture] = caption
    return Captions(by_id, file.name, tuple(problems))


def _picture_of(row: _Row, folder: Path) -> str | Problem:
    """The id of the picture a line is about: a path inside the folder, to a file that is there."""
    name = row.values.get(_FILE_NAME)
    if not isinstance(name, str) or not name.strip():
        return Problem(f"{_FILE_NAME} is missing or not text", row.place)
    path = PurePosixPath(name.strip())
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts or "\0" in name:
        what = f"{_FILE_NAME} {shown(name)!r} points outside of the folder"
        return Problem(what, row.place, "Only pictures inside of the folder can be named.")
    if not (folder / path).is_file():
        return Problem(f"{_FILE_NAME} {shown(name)!r} is not there", row.place, _nearest(folder / path))
    return path.as_posix()


def _nearest(path: Path) -> str:
    """A hint at a file whose name differs in nothing but case or suffix."""
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    same = [one.name for one in beside if one.name.casefold() == path.name.casefold()]
    stem = [one.name for one in beside if one.stem == path.stem and one.suffix not in SIDECAR_SUFFIXES]
    near = [*same, *stem]
    return f"Did you mean {shown(near[0])!r}?" if near else "Correct the name, or take the line out."


def _caption_of(row: _Row, column: str) -> Caption | Problem:
    value = row.values.get(column)
    if value is None:
        return Caption("", row.place)
    if isinstance(value, str):
        return Caption(tidy(value), row.place)
    texts = _texts_in(value)
    if not texts:
        return Problem(f"the caption in column {shown(column)!r} is not text: {shown(repr(value))}", row.place)
    return together([Caption(tidy(text), row.place) for text in texts])


def _texts_in(value: object) -> list[str]:
    """The texts of a list that has nothing else in it; none otherwise."""
    entries = cast(list[object], value) if isinstance(value, list) else []
    return [entry for entry in entries if isinstance(entry, str)] if all(isinstance(e, str) for e in entries) else []
