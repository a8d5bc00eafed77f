"""Owns which wording of its captions a picture is seen with: a function of seed, epoch, copy and picture.

Nothing is consumed, so that a run that goes on sees what it would have seen, and every wording is known beforehand.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from lorasmith import rng
from lorasmith.data.captions import tidy
from lorasmith.data.examples import Example
from lorasmith.data.token_words import holds_any
from lorasmith.data.wildcards import Wording, with_files_written_in, wording_of
from lorasmith.errors import ConfigError

_MOST = 10**9


@dataclass(frozen=True, kw_only=True)
class CaptionOptions:
    """What is drawn anew each time a caption is seen; `kept_words` are never left out with their tag."""

    seed: int = 0
    dropout: float = 0.0
    shuffle_tags: bool = False
    keep_tags: int = 0
    tag_dropout: float = 0.0
    separator: str = ","
    kept_words: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.separator.strip():
            raise ConfigError("tags cannot be separated by white space alone", where="data.tag_separator")

    @property
    def change_tags(self) -> bool:
        """Whether a caption is taken apart into its tags."""
        return self.shuffle_tags or self.tag_dropout > 0


AS_WRITTEN = CaptionOptions()
"""Nothing is drawn but one of several captions, and wildcards."""


def read_variants(examples: Sequence[Example], *, lines: bool, wildcards: bool, folder: Path | None) -> list[Example]:
    """The examples with all their captions in `wordings`, and one that can be shown in `caption`.

    `lines` makes several captions of a caption file's lines; without `wildcards` braces are only braces. Raises
    DataError for wildcards that cannot be read.
    """
    return [_with_variants(one, lines=lines, wildcards=wildcards, folder=folder) for one in examples]


def caption_of(example: Example, options: CaptionOptions, *, epoch: int, copy: int) -> str:
    """What the picture's caption says in this epoch and copy."""

    def draw(what: str) -> Random:
        return rng.python_random(options.seed, "caption", what, epoch, example.id, copy)

    if options.dropout and draw("dropout").random() < options.dropout:
        return ""
    caption = _worded(example, draw("wording")) if example.wordings else example.caption
    return _with_other_tags(caption, options, draw("tags")) if options.change_tags else caption


def possible_captions(example: Example, options: CaptionOptions) -> int:
    """How many captions the picture may be seen with, at most; a billion stands for all that is more."""
    counted = sum(one.count * _possible_orders(one.plain, options) for one in _wordings_of(example))
    return min(_MOST, counted + (options.dropout > 0))


def without_words(example: Example, words: Sequence[str]) -> list[str]:
    """Each of the picture's captions in the wording that holds none of the words, where its choices allow that."""

    def avoiding(wordings: Sequence[Wording]) -> Wording:
        return next((one for one in wordings if not holds_any(one.written(avoiding), words)), wordings[0])

    return [tidy(one.written(avoiding)) for one in _wordings_of(example)]


def longest_captions(example: Example) -> list[str]:
    """Each of the picture's captions in its longest wording, in characters."""

    def longest(wordings: Sequence[Wording]) -> Wording:
        return max(wordings, key=lambda one: len(one.written(longest)))

    return [tidy(one.written(longest)) for one in _wordings_of(example)]


def _wordings_of(example: Example) -> tuple[Wording, ...]:
    return example.wordings or (Wording((example.caption,)),)


def _with_variants(example: Example, *, lines: bool, wildcards: bool, folder: Path | None) -> Example:
    said = example.wordings or (tuple(Wording((line,)) for line in example.lines) if lines else ())
    said = said or (Wording((example.caption,)),)
    if wildcards:
        said = tuple(wording_of(with_files_written_in(one.plain, folder)) for one in said)
    caption = tidy(said[0].plain)
    return replace(example, caption=caption, wordings=() if _is_only(said, caption) else said, lines=())


def _is_only(said: tuple[Wording, ...], caption: str) -> bool:
    return len(said) == 1 and said[0].parts == (caption,)


def _worded(example: Example, draw: Random) -> str:
    return tidy(draw.choice(example.wordings).written(draw.choice))


def _with_other_tags(caption: str, options: CaptionOptions, draw: Random) -> str:
    tags = _tags_of(caption, options)
    kept, others = tags[: options.keep_tags], tags[options.keep_tags :]
    stay = [tag for tag in others if not options.tag_dropout or _stays(tag, options, draw)]
    if options.shuffle_tags:
        draw.shuffle(stay)
    glue = f"{options.separator.strip()} "
    return tidy(glue.join([*kept, *stay]))


def _stays(tag: str, options: CaptionOptions, draw: Random) -> bool:
    # Asked in any case, so that what becomes of a tag does not depend on what the others say.
    drawn = draw.random()
    return drawn >= options.tag_dropout or holds_any(tag, options.kept_words)


def _tags_of(caption: str, options: CaptionOptions) -> list[str]:
    return [tag.strip() for tag in caption.split(options.separator.strip()) if tag.strip()]


def _possible_orders(caption: str, options: CaptionOptions) -> int:
    """Σ over how many of n tags stay of the orders they may stand in; without shuffling, of the sets alone."""
    if not options.change_tags:
        return 1
    # 40 tags make more than a billion sets already.
    free = min(40, max(0, len(_tags_of(caption, options)) - options.keep_tags))
    fewest = 0 if options.tag_dropout else free
    ways = math.perm if options.shuffle_tags else math.comb
    return min(_MOST, sum(ways(free, stay) for stay in range(fewest, free + 1)))
