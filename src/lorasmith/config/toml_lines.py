"""Owns reading a TOML file of options: its values with the line each was said on; knows no schema."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final, cast

from lorasmith.errors import ConfigError


class Table(Enum):
    """Stands for the value of a path that names a table."""

    TABLE = "table"


TABLE: Final = Table.TABLE


@dataclass(frozen=True)
class TomlLeaf:
    """A value (or TABLE) at a dotted path, with the line its statement starts on (1 is the first)."""

    path: str
    value: object
    line: int

    def within(self, path: str) -> str | None:
        """The rest of this leaf's path if it lies below another."""
        return self.path.removeprefix(f"{path}.") if self.path.startswith(f"{path}.") else None


def read_toml(path: Path) -> tuple[TomlLeaf, ...]:
    """Every value of the file.

    Raises ConfigError, naming line and column, when the file is missing, not UTF-8 or not TOML.
    """
    text = _read_text(path)
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _broken(path, text, str(error)) from error
    return tuple(_statements(text))


def _read_text(path: Path) -> str:
    if path.is_dir():
        raise ConfigError(
            f"{path} is a folder, not a TOML file",
            remedy="Name a folder of pictures with --data.instance-images.",
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(f"there is no file {path}", remedy="Check the path; options start with --.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not a TOML file: it is not UTF-8 text (byte {error.start})") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def _broken(path: Path, text: str, message: str) -> ConfigError:
    spot = re.search(r"\(at line (\d+), column (\d+)\)", message)
    reason = message.partition(" (at ")[0]
    lines = text.splitlines() or [""]
    line, column = (int(spot[1]), int(spot[2])) if spot else (len(lines), len(lines[-1]) + 1)
    return ConfigError(
        f"broken TOML: {reason[:1].lower()}{reason[1:]}",
        where=f"{path}:{line}:{column}",
        remedy='A line reads `rank = 16` below `[adapter]`; texts stand in "quotes".',
    )


def _statements(text: str) -> Iterator[TomlLeaf]:
    """Each leaf and each table header; a statement ends where its lines parse on their own."""
    table: tuple[str, ...] = ()
    pending: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        pending.append(line)
        try:
            parsed = tomllib.loads("\n".join(pending))
        except tomllib.TOMLDecodeError:
            continue
        first, pending = number - len(pending) + 1, []
        if line.lstrip().startswith("[") and first == number:
            table = _table_name(parsed)
            yield TomlLeaf(".".join(table), TABLE, first)
        else:
            yield from _leaves(parsed, table, first)


def _table_name(header: Mapping[str, Any]) -> tuple[str, ...]:
    names: list[str] = []
    level: Any = header
    while isinstance(level, dict) and level:
        name, level = next(iter(cast("dict[str, Any]", level).items()))
        names.append(name)
    return tuple(names)


def _leaves(statement: Mapping[str, Any], table: tuple[str, ...], line: int) -> Iterator[TomlLeaf]:
    for name, value in statement.items():
        path = (*table, name)
        if isinstance(value, dict):
            yield TomlLeaf(".".join(path), TABLE, line)
            yield from _leaves(cast("dict[str, Any]", value), path, line)
        else:
            yield TomlLeaf(".".join(path), value, line)
