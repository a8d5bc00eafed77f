"""Owns taking values out of a peer's config: each is asked for by name and type, and what nobody asked for is left."""

import math
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, cast

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError
from lorasmith.importing.result import Unknown

_TRUE: Final = frozenset({"true", "yes", "on", "1"})
_FALSE: Final = frozenset({"false", "no", "off", "0", "none", ""})


class Keys:
    """A table of a peer's config. A value that is null counts as not said, as it does in all four programs."""

    def __init__(self, values: Mapping[str, object], *, inside: str = "") -> None:
        """`inside` is the dotted path of the table, for people."""
        self._values = {name: value for name, value in values.items() if value is not None}
        self._taken: set[str] = set()
        self._tables: dict[str, tuple[Keys, ...]] = {}
        self._inside = inside

    def has(self, name: str) -> bool:
        """Whether the config says it."""
        return name in self._values

    def names(self) -> tuple[str, ...]:
        """All it says."""
        return tuple(self._values)

    def path(self, name: str) -> str:
        """The key's dotted path."""
        return f"{self._inside}.{name}" if self._inside else name

    def told(self, name: str, default: object = None) -> str:
        """`network_dim = 16`, or that it is the peer's default."""
        if self.has(name):
            return f"{self.path(name)} = {as_text(self._values[name])}"
        return f"{self.path(name)} = {as_text(default)} (not said: its default)"

    def take(self, name: str) -> object:
        """The value as it stands; None where nothing is said."""
        self._taken.add(name)
        return self._values.get(name)

    def text(self, name: str, default: str = "") -> str:
        """A text, or a number as one."""
        value = self.take(name)
        if value is None:
            return default
        if isinstance(value, bool | int | float | str):
            return str(value)
        raise self._refused(name, "a text")

    def number(self, name: str, default: float) -> float:
        """A finite number, also when it stands in quotes."""
        value = self.take(name)
        try:
            number = default if value is None else float(cast("str", value))
        except (TypeError, ValueError):
            raise self._refused(name, "a number") from None
        if isinstance(value, bool) or not math.isfinite(number):
            raise self._refused(name, "a number")
        return number

    def integer(self, name: str, default: int, *, least: int | None = None) -> int:
        """A whole number, also when it stands in quotes."""
        number = self.number(name, default)
        if number != int(number) or (least is not None and number < least):
            raise self._refused(name, "a whole number" if least is None else f"a whole number from {least} on")
        return int(number)

    def switch(self, name: str, *, default: bool = False) -> bool:
        """On or off, also when it stands in quotes: the text "False" is off."""
        value = self.take(name)
        if value is None:
            return default
        text = str(value).strip().lower()
        if text not in _TRUE | _FALSE:
            raise self._refused(name, "true or false")
        return text in _TRUE

    def texts(self, name: str) -> tuple[str, ...]:
        """A list of texts; one text is a list of one."""
        value = self.take(name)
        if value is None:
            return ()
        if isinstance(value, list | tuple):
            return tuple(str(part) for part in cast("Sequence[object]", value))
        return (str(value),)

    def table(self, name: str) -> "Keys":
        """A table inside; an empty one where there is none."""
        value = self.take(name)
        if value is not None and not isinstance(value, dict):
            raise self._refused(name, "a table")
        if name not in self._tables:
            self._tables[name] = (Keys(cast("dict[str, object]", value or {}), inside=self.path(name)),)
        return self._tables[name][0]

    def tables(self, name: str) -> tuple["Keys", ...]:
        """A list of tables; none where there is none."""
        value = self.take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(isinstance(one, dict) for one in cast("list[object]", value)):
            raise self._refused(name, "a list of tables")
        if name not in self._tables:
            listed = enumerate(cast("list[dict[str, object]]", value))
            self._tables[name] = tuple(Keys(one, inside=f"{self.path(name)}[{number}]") for number, one in listed)
        return self._tables[name]

    def left(self) -> Iterator[Unknown]:
        """What was said and nobody took, here and in the tables that were taken."""
        for name, value in self._values.items():
            if name not in self._taken:
                near = get_close_matches(name, self._taken - self._values.keys(), n=1, cutoff=0.8)
                yield Unknown(shown(self.path(name)), as_text(value), near[0] if near else None)
        for tables in self._tables.values():
            for table in tables:
                yield from table.left()

    def _refused(self, name: str, wanted: str) -> ConfigError:
        return ConfigError(
            f"{shown(self.path(name))} is {as_text(self._values[name])} and must be {wanted}",
            remedy="Correct it in the file that is imported.",
        )


def as_text(value: object, *, limit: int = 80) -> str:
    """A value of a config for people: on one line, harmless and not long."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return f"{value:g}"
        case list() | tuple():
            parts = cast("Sequence[object]", value)
            return shown(f"[{', '.join(as_text(part) for part in parts)}]", limit=limit)
        case _:
            return shown(str(value), limit=limit)
