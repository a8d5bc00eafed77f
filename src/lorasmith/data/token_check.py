"""Owns whether captions name what is learnt; a caption without a token abstraction teaches the new tokens nothing."""

from collections.abc import Sequence

from lorasmith.data.caption_variants import without_words
from lorasmith.data.examples import Example
from lorasmith.data.token_words import holds_any, whole_word
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError


def captions_missing_token(examples: Sequence[Example], abstractions: Sequence[str]) -> list[Example]:
    """The examples that have a caption, or a wording of one, with none of the abstractions as a whole word."""
    return [
        example
        for example in examples
        if not all(holds_any(caption, abstractions) for caption in without_words(example, abstractions))
    ]


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
    found = [
        (match.group(), word)
        for one in missing
        for word in abstractions
        if (match := whole_word(word, any_case=True).search(one.caption)) and match.group() != word
    ]
    if not found:
        return ""
    said, word = found[0]
    return f" {counted(len(found), 'caption')} of these in another case ({shown(said)} instead of {shown(word)})"
