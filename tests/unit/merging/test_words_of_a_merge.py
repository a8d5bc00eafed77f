"""Concepts of several adapters keep words and new tokens apart."""

import pytest
import torch

from lorasmith.errors import ConfigError
from lorasmith.formats.weights import ConceptRows, NewTokenRows
from lorasmith.merging.words import namespaced, together


def rows(word: str, *tokens: str, seed: int = 0, look_alike: str = "") -> NewTokenRows:
    """One concept with random rows."""
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.randn(len(tokens), width, generator=generator) for width in (4, 6))
    return NewTokenRows((ConceptRows(word, tokens, first, second, look_alike),))


def test_two_concepts_of_one_word_get_words_and_tokens_of_their_own() -> None:
    first, second = namespaced([rows("TOK", "<s0>", "<s1>"), rows("TOK", "<s0>", "<s1>", seed=1)])
    assert [(one.abstraction, one.tokens) for one in together([first, second]).concepts] == [
        ("TOK", ("<s0>", "<s1>")),
        ("TOK2", ("<s2>", "<s3>")),
    ]
    assert second.in_new_words("a TOK emoji, TOKEN and all") == "a TOK2 emoji, TOKEN and all"
    assert first.in_new_words("a TOK emoji") == "a TOK emoji"
    assert (first.changed, second.changed) == ((), (("TOK", "TOK2"),))


def test_the_vectors_go_with_the_names() -> None:
    before = [rows("TOK", "<s0>"), rows("TOK", "<s0>", seed=1)]
    after = together(namespaced(before)).concepts
    for old, new in zip(before, after, strict=True):
        assert torch.equal(old.concepts[0].text_encoder_1, new.text_encoder_1)
        assert torch.equal(old.concepts[0].text_encoder_2, new.text_encoder_2)


def test_a_free_number_is_found() -> None:
    renamed = namespaced([rows("TOK", "<a>"), rows("TOK2", "<b>", seed=1), rows("TOK", "<c>", seed=2)])
    assert [one.abstraction for one in together(renamed).concepts] == ["TOK", "TOK2", "TOK3"]


def test_what_does_not_clash_stays() -> None:
    renamed = namespaced([rows("y2k", "<y2k-0>"), rows("dog", "<dog-0>", seed=1)])
    assert [(one.abstraction, one.tokens) for one in together(renamed).concepts] == [
        ("y2k", ("<y2k-0>",)),
        ("dog", ("<dog-0>",)),
    ]


def test_words_can_be_chosen() -> None:
    renamed = namespaced(
        [rows("TOK", "<s0>"), rows("TOK", "<s0>", seed=1, look_alike="pixel art")], ["SUBJECT", "STYLE"]
    )
    assert [one.abstraction for one in together(renamed).concepts] == ["SUBJECT", "STYLE"]
    assert renamed[1].in_new_words("in TOK style") == "in STYLE style"
    assert together(renamed).concepts[1].look_alike == "pixel art"


@pytest.mark.parametrize("words", [["ONE"], ["SAME", "SAME"], ["ONE", "two words"], ["ONE", "\x1b[31m"]])
def test_words_that_cannot_be_meant_are_refused(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="word"):
        namespaced([rows("TOK", "<s0>"), rows("TOK", "<s0>", seed=1)], words)


def test_the_same_concept_in_two_adapters_is_kept_once() -> None:
    renamed = namespaced([rows("TOK", "<s0>"), rows("TOK", "<s0>")])
    assert [one.abstraction for one in together(renamed).concepts] == ["TOK"]
