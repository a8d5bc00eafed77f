"""Owns what a concept on any base is asked for, where nobody knows the truth; refuses to draw."""

import re
from collections.abc import Sequence
from typing import Final

from lorasmith.evaluation.examination import Asked, Examination

UNKNOWN_CLASS: Final = "object"
"""Stands for the class word where nobody said one."""
TEMPLATES: Final = (
    "a photo of {}",
    "a photo of {} on a beach",
    "a photo of {} in the snow",
    "a photo of {} on a wooden table",
    "a photo of {} in a city street at night",
    "a watercolour painting of {}",
    "a pencil drawing of {}",
    "a photo of {} in front of a purple wall",
)
UNRELATED: Final = (
    "a photo of a red apple on a white plate",
    "a photo of a sailing boat at sea",
    "a watercolour painting of a mountain village",
    "a photo of an old bicycle against a brick wall",
    "a bowl of noodle soup seen from above",
    "a pencil drawing of an oak tree",
    "a photo of a city skyline at night",
    "a bouquet of yellow tulips in a glass vase",
    "a photo of a steam train crossing a bridge",
    "a wooden chair beside a window",
)


def any_examination(
    *, token: str, class_word: str, prompts: Sequence[str] = (), captions: Sequence[str] = ()
) -> Examination:
    """`prompts` name the token abstraction; without any, a few usual ones. The base is asked for the class word."""
    own = prompts or [template.format(_subject(token, class_word)) for template in TEMPLATES]
    asked = [Asked(text, in_class_words(text, token=token, class_word=class_word)) for text in own]
    bare = Asked(f"a photo of {_subject(token, class_word)}", f"a photo of {_with_article(class_word)}")
    return Examination(asked, bare, [Asked(text, text) for text in UNRELATED], captions)


def in_class_words(text: str, *, token: str, class_word: str) -> str:
    """A prompt with the class word where the token stands, said once: `a photo of a dog` for `a photo of TOK dog`."""
    word = re.escape(token)
    phrase = re.compile(rf"(?:\b(an?|the|my) )?(?<!\w){word}(?!\w)(?: {re.escape(class_word)}\b)?", re.IGNORECASE)

    def said(match: re.Match[str]) -> str:
        article = match.group(1)
        return f"{article} {class_word}" if article in ("the", "my") else _with_article(class_word)

    return phrase.sub(said, text)


def _subject(token: str, class_word: str) -> str:
    return f"{token} {class_word}" if class_word != UNKNOWN_CLASS else token


def _with_article(words: str) -> str:
    return f"{'an' if words[:1] in 'aeiou' else 'a'} {words}"
