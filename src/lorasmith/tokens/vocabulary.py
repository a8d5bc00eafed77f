"""Owns which word stands for which new tokens and how prompts are rewritten; knows no vectors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class TokenAbstraction:
    """A word users type (`TOK`) and the new tokens it becomes (`<s0>`, `<s1>`), with words the base knows behind it."""

    word: str
    tokens: tuple[str, ...]
    look_alike: str = ""

    @property
    def written_out(self) -> str:
        """The new tokens as they stand in a prompt: `<s0><s1>`, or `<s0><s1> Scarlett Johansson`."""
        return " ".join(filter(None, ("".join(self.tokens), self.look_alike)))


@dataclass(frozen=True)
class TokenVocabulary:
    """All token abstractions of a run; empty when no new tokens are used."""

    abstractions: tuple[TokenAbstraction, ...]

    @classmethod
    def of(cls, words: Sequence[str], *, per_abstraction: int, look_alikes: Sequence[str] = ()) -> "TokenVocabulary":
        """Number the new tokens on across the words: TOK → <s0><s1>, TOK2 → <s2><s3>; a look-alike each, or none."""
        numbered = [
            TokenAbstraction(word, tuple(f"<s{index * per_abstraction + n}>" for n in range(per_abstraction)), name)
            for index, (word, name) in enumerate(zip(words, look_alikes or [""] * len(words), strict=True))
        ]
        return cls(tuple(numbered))

    @property
    def tokens(self) -> tuple[str, ...]:
        """All new tokens, in the order of their rows."""
        return tuple(token for abstraction in self.abstractions for token in abstraction.tokens)

    def expand(self, prompt: str) -> str:
        """The prompt with each abstraction written out; whole words only, so `TOK` never touches `TOK2` or `TOKEN`.

        A look-alike that stands behind the word already is not put there twice.
        """
        if not self.abstractions:
            return prompt
        by_word = {abstraction.word: abstraction for abstraction in self.abstractions}

        def write_out(match: re.Match[str]) -> str:
            abstraction, rest = by_word[match.group()], prompt[match.end() :].lstrip(" ,").casefold()
            has_name = bool(abstraction.look_alike) and rest.startswith(abstraction.look_alike.casefold())
            return "".join(abstraction.tokens) if has_name else abstraction.written_out

        return self._words.sub(write_out, prompt)

    def in_other_words(self, prompt: str, word: str) -> str:
        """The prompt with `word` in each abstraction's place: `a photo of a dog` for `a photo of a TOK`."""
        return self._words.sub(lambda _: word, prompt)

    def is_mentioned_in(self, prompt: str) -> bool:
        """Whether the prompt names an abstraction (or a new token, as `<s0>`)."""
        return any(token in prompt for token in self.tokens) or self._words.search(prompt) is not None

    @cached_property
    def _words(self) -> re.Pattern[str]:
        # Longest first: of `TOK` and `TOK-red` the longer one must win where both match.
        longest_first = sorted((abstraction.word for abstraction in self.abstractions), key=len, reverse=True)
        choices = "|".join(re.escape(word) for word in longest_first) or r"(?!)"
        return re.compile(rf"(?<!\w)(?:{choices})(?!\w)")
