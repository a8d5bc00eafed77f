"""Owns whether captions name what is learnt; a caption without a token abstraction teaches the new tokens nothing."""

import re
from collections.abc import Sequence

from lorasmith.data.examples import Example
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError


def captions_missing_token(examples: Sequence[Example], abstractions: Sequence[str]) -> list[Example]:
    """The examples whose captions hold none of the abstractions as a whole word in the same case."""
    return [example for example in examples if not any(_holds(example.caption, word) for word in abstractions)]


def refuse_captions_without_token(examples: Sequence[Example], abstractions: Sequence[str]) -> None:
    """Raise DataError naming the captions that hold no token abstraction, and those that only differ in case."""
    missing = captions_missing_token(examples, abstractions)
    if not missing:
        return
    words = " or ".join(shown(word) for word in abstractions)
    names = listed([example.id for example in missing])
    raise DataError(
        f"{len(missing)} of {counted(len(examples), 'caption')} without {words}, so these pictures would not teach "
        f"the new tokens: {names}.{_other_case(missing, abstractions)}",
        remedy=f"Write {words} into them, or set data.captions_without_token to allow.",
    )


def _other_case(missing: Sequence[Example], abstractions: Sequence[str]) -> str:
    held = [(one, word) for one in missing for word in abstractions if _holds(one.caption, word, re.IGNORECASE)]
    if not held:
        return ""
    example, word = held[0]
    found = _whole_word(word, re.IGNORECASE).search(example.caption)
    assert found is not None, "the caption was chosen for holding it"
    return (
        f" {counted(len(held), 'caption')} of these in another case ({shown(found.group())} instead of {shown(word)})"
    )


def _holds(caption: str, word: str, flags: re.RegexFlag = re.NOFLAG) -> bool:
    return _whole_word(word, flags).search(caption) is not None


def _whole_word(word: str, flags: re.RegexFlag) -> re.Pattern[str]:
    """Neither inside of a longer word nor the beginning of one: TOK is not in TOK2."""
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", flags)
