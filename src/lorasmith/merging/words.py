"""Owns giving several adapters' new tokens and token abstractions names of their own; changes no vectors."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch

from lorasmith.errors import ConfigError
from lorasmith.formats.weights import ConceptRows, NewTokenRows
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary


@dataclass(frozen=True)
class Renamed:
    """A parent's concepts under their names in the merge, and the words they had before."""

    rows: NewTokenRows
    before: tuple[str, ...]

    def in_new_words(self, prompt: str) -> str:
        """A prompt of the parent's, as it is written for the merge."""
        pairs = zip(self.before, self.rows.concepts, strict=True)
        return TokenVocabulary(tuple(TokenAbstraction(old, (new.abstraction,)) for old, new in pairs)).expand(prompt)

    @property
    def changed(self) -> tuple[tuple[str, str], ...]:
        """The words that are others now: before and after."""
        pairs = zip(self.before, self.rows.concepts, strict=True)
        return tuple((old, new.abstraction) for old, new in pairs if old != new.abstraction)


def namespaced(all_rows: Sequence[NewTokenRows], words: Sequence[str] = ()) -> tuple[Renamed, ...]:
    """Concepts under words and new tokens that no other has: TOK and TOK become TOK and TOK2, with tokens of their own.

    `words` names all concepts in order, where the usual numbering is not wanted. New tokens are numbered anew as soon
    as two concepts share one. A concept that two parents have alike, to the bit, stays one.
    """
    own = _without_copies(all_rows)
    concepts = [concept for rows in own for concept in rows.concepts]
    new_words = _as_asked(words, concepts) if words else _numbered([concept.abstraction for concept in concepts])
    tokens = _new_tokens(concepts)
    named = iter(
        replace(concept, abstraction=word, tokens=new)
        for concept, word, new in zip(concepts, new_words, tokens, strict=True)
    )
    return tuple(
        Renamed(
            NewTokenRows(tuple(next(named) for _ in rows.concepts)), tuple(one.abstraction for one in rows.concepts)
        )
        for rows in own
    )


def together(renamed: Iterable[Renamed]) -> NewTokenRows:
    """All concepts of a merge."""
    return NewTokenRows(tuple(concept for one in renamed for concept in one.rows.concepts))


def _without_copies(all_rows: Sequence[NewTokenRows]) -> list[NewTokenRows]:
    """Each parent's concepts without those that an earlier one has alike."""
    known = list[ConceptRows]()
    own = list[NewTokenRows]()
    for rows in all_rows:
        fresh = tuple(concept for concept in rows.concepts if not any(_are_alike(concept, other) for other in known))
        known += fresh
        own.append(NewTokenRows(fresh))
    return own


def _are_alike(one: ConceptRows, other: ConceptRows) -> bool:
    return (
        one.abstraction == other.abstraction
        and one.look_alike == other.look_alike
        and torch.equal(one.text_encoder_1, other.text_encoder_1)
        and torch.equal(one.text_encoder_2, other.text_encoder_2)
    )


def _as_asked(words: Sequence[str], concepts: Sequence[ConceptRows]) -> list[str]:
    """The words that were asked for, each once and one a concept."""
    found = [concept.abstraction for concept in concepts]
    if len(words) != len(found) or len(set(words)) != len(words):
        raise ConfigError(
            f"{', '.join(words)} are not {len(found)} different words for {', '.join(found) or 'no concept'}",
            where="words",
            remedy="Name one word for each concept, in the order of the files; or none, and they are numbered.",
        )
    if unfit := next((word for word in words if not re.fullmatch(r"\S+", word) or not word.isprintable()), None):
        raise ConfigError(f"{unfit!r} is not one word", where="words", remedy="Use words like TOK2.")
    return list(words)


def _numbered(words: Sequence[str]) -> list[str]:
    """The first of several equal words stays, the others get the next number that is free."""
    taken = set(words)
    given = list[str]()
    for word in words:
        name, number = word, 2
        if word in given:
            while (name := f"{word}{number}") in taken:
                number += 1
        taken.add(name)
        given.append(name)
    return given


def _new_tokens(concepts: Sequence[ConceptRows]) -> list[tuple[str, ...]]:
    """The concepts' own tokens, or all of them numbered on where two share one."""
    every = [token for concept in concepts for token in concept.tokens]
    if len(set(every)) == len(every):
        return [concept.tokens for concept in concepts]
    numbers = iter(range(len(every)))
    return [tuple(f"<s{next(numbers)}>" for _ in concept.tokens) for concept in concepts]
