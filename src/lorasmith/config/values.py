"""Owns reading one value, said as text or in TOML, as what its option wants; checks no bounds (the schema does)."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import assert_never, cast

from lorasmith.config.flags import Option

TRUE_WORDS = frozenset({"true", "yes", "on", "1"})
FALSE_WORDS = frozenset({"false", "no", "off", "0"})


class UnreadableValueError(ValueError):
    """A value is not what its option wants; the message is a clause such as `'x' is not a whole number`."""

    def __init__(self, option: Option, value: object, hint: str | None = None) -> None:
        shown = repr(value) if isinstance(value, str) else _shown(value)
        super().__init__(f"{option.path} is {shown} and must be {option.wanted}")
        self.hint = hint


def is_switch_word(text: str) -> bool:
    """Whether the text is one of the words for true and false."""
    return text.lower() in TRUE_WORDS | FALSE_WORDS


def from_texts(option: Option, texts: Sequence[str]) -> object:
    """The value said by one or, for lists, several texts. Raises UnreadableValueError."""
    if option.kind == "texts":
        return tuple(part for text in texts for part in _parts(option, text))
    if option.kind == "table":
        return _table(option, [part for text in texts for part in _parts(option, text)])
    return _from_text(option, texts[-1])


def from_toml(option: Option, value: object) -> object:
    """The value said in TOML, where texts must not stand for numbers. Raises UnreadableValueError."""
    match option.kind, value:
        case ("text" | "choice" | "path" | "texts" | "section", str()):
            return from_texts(option, [value])
        case (("switch" | "section"), bool()):
            return value
        case ("number", int() | float()) if not isinstance(value, bool):
            return _finite(option, float(value))
        case ("integer", int()) if not isinstance(value, bool):
            return value
        case ("texts", list()) if all(isinstance(part, str) for part in cast("list[object]", value)):
            return tuple(cast("list[str]", value))
        case ("table", str()):
            return from_texts(option, [value])
        case (_, str()) if value.lower() in option.words:
            return value.lower()
        case ("table", dict()) if all(type(number) is int for number in cast("dict[str, object]", value).values()):
            return cast("dict[str, int]", value)
        case (_, str()) if option.optional and _is_none(value):
            return None
        case _:
            raise UnreadableValueError(option, value, _toml_hint(option, value))


def _from_text(option: Option, text: str) -> object:
    if option.kind == "section":
        return False if _is_none(text) else _switch(option, text)
    if option.optional and _is_none(text):
        return None
    if text.strip().lower() in option.words:
        return text.strip().lower()
    match option.kind:
        case "switch":
            return _switch(option, text)
        case "integer":
            return _integer(option, text)
        case "number":
            return _number(option, text)
        case "text" | "texts" | "table":
            return text
        case "path":
            return _path(option, text)
        case "choice":
            return _choice(option, text)
        case _:
            assert_never(option.kind)


def _parts(option: Option, text: str) -> tuple[str, ...]:
    if _is_none(text):
        return ()
    if not option.splits_at_commas:
        return (text,)
    return tuple(part.strip() for part in text.split(","))


def _table(option: Option, parts: Sequence[str]) -> dict[str, int]:
    """Names with numbers, each name once: `mid_block=32`."""
    table: dict[str, int] = {}
    for part in parts:
        name, equals, number = (piece.strip() for piece in part.rpartition("="))
        if not (name and equals) or table.get(name, number) != number:
            raise UnreadableValueError(option, part, "Name each once, with = and a number behind it.")
        table[name] = _integer(option, number)
    return table


def _switch(option: Option, text: str) -> bool:
    if not is_switch_word(text):
        raise UnreadableValueError(option, text)
    return text.lower() in TRUE_WORDS


def _integer(option: Option, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UnreadableValueError(option, text) from None


def _number(option: Option, text: str) -> float:
    try:
        return _finite(option, float(text))
    except ValueError:
        raise UnreadableValueError(option, text) from None


def _finite(option: Option, number: float) -> float:
    if not math.isfinite(number):
        raise UnreadableValueError(option, str(number))
    return number


def _path(option: Option, text: str) -> Path:
    if not text.strip() or "\0" in text:
        raise UnreadableValueError(option, text)
    return Path(text).expanduser()


def _choice(option: Option, text: str) -> str:
    for choice in option.choices:
        if text.lower().replace("-", "_") == choice.replace("-", "_"):
            return choice
    raise UnreadableValueError(option, text, nearest(text, option.choices))


def nearest(text: str, names: Sequence[str]) -> str | None:
    """A remedy naming the nearest of `names`, or None when nothing is near."""
    found = nearest_name(text, names)
    return f"Did you mean {found}?" if found else None


def nearest_name(text: str, names: Sequence[str]) -> str | None:
    """The nearest of `names`, or None when nothing is near."""
    import difflib  # only for errors: the config must load fast

    folded = {name.lower().replace("-", "_"): name for name in names}
    close = difflib.get_close_matches(text.lower().replace("-", "_"), list(folded), n=1, cutoff=0.6)
    return folded[close[0]] if close else None


def _is_none(text: str) -> bool:
    return text.strip().lower() == "none"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _toml_hint(option: Option, value: object) -> str | None:
    if isinstance(value, str) and option.kind in ("integer", "number", "switch"):
        return "Write it without quotes."
    return None
