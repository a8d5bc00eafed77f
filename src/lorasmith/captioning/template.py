"""Owns captions without any weights: a text with a few fields, filled in from what is known of each file."""

import re
from collections.abc import Sequence
from string import Formatter

from lorasmith.captioning.captioner import Seen
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError

_FIELDS = ("name", "number", "shape")


class Template:
    """Fills `{name}` (the file's name as words), `{number}` and `{shape}` (upright, lying or square)."""

    def __init__(self, text: str) -> None:
        """Raises ConfigError for fields it does not know."""
        _refuse_unknown_fields(text)
        self._text = text

    def describe(self, pictures: Sequence[Seen]) -> list[str]:
        """The text with its fields filled in."""
        return [self._text.format(name=_words(one.name), number=one.number, shape=_shape(one)) for one in pictures]


def _refuse_unknown_fields(text: str) -> None:
    try:
        parts = list(Formatter().parse(text))
    except ValueError as error:
        raise _refusal(text, str(error)) from error
    unknown = [
        name for _, name, form, conversion in parts if name is not None and (name not in _FIELDS or form or conversion)
    ]
    if unknown:
        raise _refusal(text, f"{shown(unknown[0])!r} is no field of it")


def _refusal(text: str, why: str) -> ConfigError:
    fields = ", ".join(f"{{{name}}}" for name in _FIELDS)
    return ConfigError(
        f"the template {shown(text)!r} cannot be filled in: {why}",
        where="--template",
        remedy=f"Its fields are {fields}.",
    )


def _words(name: str) -> str:
    """`red_hat-02` says red hat; numbers and signs at the ends count pictures and say nothing."""
    return re.sub(r"^[\d ]+|[\d ]+$", "", re.sub(r"[\W_]+", " ", name)).strip()


def _shape(one: Seen) -> str:
    width, height = one.pixels.size
    if width == height:
        return "square"
    return "upright" if height > width else "lying"
