"""Owns how names and captions out of files are shown to people: harmless in a terminal, and never long."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, turn the writing direction round or show nothing at all."""


def shown(text: str | Path, *, limit: int = 120) -> str:
    """The text with control, direction and invisible characters replaced by `?`, cut after `limit` characters."""
    visible = "".join("?" if unicodedata.category(character) in _HIDDEN else character for character in str(text))
    return visible if len(visible) <= limit else visible[: limit - 1] + "…"


def listed(names: Sequence[str | Path], *, limit: int = 5) -> str:
    """The first names, and how many more there are: `a, b and 3 more`."""
    first = ", ".join(shown(name) for name in names[:limit])
    more = len(names) - limit
    return f"{first} and {more} more" if more > 0 else first


def counted(number: int, thing: str) -> str:
    """`1 picture`, `2 pictures`."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def spread(values: Sequence[float]) -> str:
    """`16`, `4 and 8`, `1 to 6` for more than two."""
    lowest, highest = (f"{value:g}" for value in (min(values), max(values)))
    if lowest == highest:
        return lowest
    return f"{lowest} {'and' if len(set(values)) == 2 else 'to'} {highest}"
