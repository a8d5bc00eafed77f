"""Owns opening a peer's file as plain data, and saying what a file looks like that is not the peer's; runs nothing."""

import json
import re
import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, cast

import yaml

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError

_MOST_BYTES: Final = 8_000_000
"""Configs are written by people; what is larger is something else."""

Table = Mapping[str, object]


def read_text(file: Path) -> str:
    """The file's text. Raises ConfigError when it is not there, not text or far too large for a config."""
    if file.is_dir():
        raise ConfigError(f"{shown(file)} is a folder", remedy="Name the config file.")
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ConfigError(f"{shown(file)} is too large for a config", remedy="Name the config file itself.")
        return file.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {shown(file)}", remedy="Check the path.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{shown(file)} is not a config: it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{shown(file)} cannot be read: {error.strerror}") from error


def read_data(file: Path) -> object:
    """What a TOML, JSON or YAML file holds, told by its suffix; JSON may have comments and commas too many."""
    text = read_text(file)
    match file.suffix.lower():
        case ".toml":
            return _parsed(file, "TOML", text)
        case ".yaml" | ".yml":
            return _parsed(file, "YAML", text)
        case _:
            return _parsed(file, "JSON", text)


def as_table(data: object, file: Path) -> Table:
    """The data as a table. Raises ConfigError for anything else."""
    if not isinstance(data, dict) or not all(isinstance(name, str) for name in cast("dict[object, object]", data)):
        raise ConfigError(f"{shown(file)} does not hold a table of options, but {looks_like(cast('object', data))}")
    return cast("Table", data)


def words_of(text: str, file: Path, *, program: str) -> tuple[str, ...]:
    """The arguments of the first command of a shell script that runs `program`, or all words where none does.

    Lines go on after a backslash, a caret (Windows) or a backtick (PowerShell). Nothing is run or expanded.
    """
    joined = re.sub(r"[\\^`][ \t]*\r?\n", " ", text)
    for line in joined.splitlines():
        if re.search(program, line) and not line.lstrip().startswith(("#", "REM ", "::")):
            words = _split(line, file)
            start = next((at for at, word in enumerate(words) if re.search(program, word)), -1)
            return _up_to_the_next_command(words[start + 1 :])
    return _up_to_the_next_command(_split(" ".join(joined.split()), file))


def looks_like(data: object) -> str:
    """What a config looks like, in words that begin with `a`."""
    if isinstance(data, list):
        first = cast("list[object]", data)[:1]
        names = set(cast("dict[str, object]", first[0])) if first and isinstance(first[0], dict) else set[str]()
        if "dataset_type" in names or {"id", "type"} <= names:
            return "a SimpleTuner list of data backends"
        if {"path", "image", "text"} & names and names & {"balancing", "repeats", "enabled", "include_subdirectories"}:
            return "a OneTrainer list of concepts"
        return "a list"
    if not isinstance(data, dict):
        return "a single value" if data is not None else "an empty file"
    names = {str(name).removeprefix("--") for name in cast("dict[object, object]", data)}
    for told, marks in _MARKS:
        if any(all(mark in names for mark in several.split()) for several in marks):
            return told
    return f"a table of {shown(', '.join(sorted(names)[:5]), limit=80) or 'nothing'}"


_MARKS: Final[Sequence[tuple[str, tuple[str, ...]]]] = (
    ("a config of lorasmith", ("adapter", "schedule", "tokens", "recipe")),
    ("an ai-toolkit config", ("job config", "config meta")),
    ("a OneTrainer config", ("training_method", "base_model_name", "concept_file_name")),
    ("a SimpleTuner config", ("model_family", "data_backend_config", "lora_rank")),
    ("a config of the kohya_ss window", ("LoRA_type", "max_resolution", "folder_name")),
    ("a kohya data set", ("datasets", "general datasets")),
    ("a kohya config", ("network_module", "network_dim", "train_data_dir", "pretrained_model_name_or_path")),
    ("a ComfyUI workflow", ("last_node_id", "nodes links")),
    ("a package.json", ("dependencies scripts",)),
)  # fmt: skip


def refuse_stranger(data: object, file: Path, *, wanted: str, peer: str) -> None:
    """Raise ConfigError when the data does not look like one of the kinds in `wanted` (after `a` or `an`)."""
    seen = looks_like(data)
    if not re.search(wanted, seen):
        known = {"ai-toolkit": "ai-toolkit", "OneTrainer": "onetrainer", "SimpleTuner": "simpletuner", "kohya": "kohya"}
        other = next((name for mark, name in known.items() if mark in seen and name != peer), None)
        if "kohya_ss window" in seen:
            remedy = "Its button `Print training command` gives a command line, which can be imported."
        elif "of lorasmith" in seen:
            remedy = "It needs no import: `lorasmith train FILE` reads it."
        else:
            remedy = f"Try `lorasmith import {other} FILE`." if other else f"Name a config that {peer} trains with."
        raise ConfigError(f"{shown(file)} is not a config of {peer}: it looks like {seen}", remedy=remedy)


def _parsed(file: Path, kind: str, text: str) -> object:
    try:
        match kind:
            case "TOML":
                return tomllib.loads(text)
            case "YAML":
                return _yaml(text, file)
            case _:
                return json.loads(text if _is_json(text) else _without_comments(text))
    except (tomllib.TOMLDecodeError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ConfigError(
            f"{shown(file)} is not {kind}: {shown(why)}", remedy="Check the file, and its suffix."
        ) from error


def _yaml(text: str, file: Path) -> object:
    """By the safe loader, and without aliases: a few lines of them can stand for gigabytes."""
    tokens = cast("Iterator[object]", yaml.scan(text, Loader=yaml.SafeLoader))
    if any(isinstance(token, yaml.AliasToken) for token in tokens):
        raise ConfigError(f"{shown(file)} uses YAML aliases (*name)", remedy="Write out what they stand for.")
    return yaml.safe_load(text)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


_IN_JSON: Final = re.compile(
    r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/|,(?=\s*(?://[^\n]*\s*|/\*.*?\*/\s*)*[}\]])', re.DOTALL
)


def _without_comments(text: str) -> str:
    return _IN_JSON.sub(lambda found: found.group() if found.group().startswith('"') else "", text)


def _split(line: str, file: Path) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError as error:
        raise ConfigError(f"{shown(file)} is not a command line: {error}", remedy="Check its quotes.") from error


def _up_to_the_next_command(words: Sequence[str]) -> tuple[str, ...]:
    end = next((at for at, word in enumerate(words) if word in ("&&", "||", ";", "|", "&")), len(words))
    return tuple(words[:end])
