"""Owns whether a text names a word: as a whole one, in the same case."""

import re
from collections.abc import Iterable


def holds_any(text: str, words: Iterable[str]) -> bool:
    """Whether the text holds at least one of the words."""
    return any(whole_word(word).search(text) for word in words)


def whole_word(word: str, *, any_case: bool = False) -> re.Pattern[str]:
    """Neither inside of a longer word nor the beginning of one: TOK is not in TOK2."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE if any_case else re.NOFLAG)
