"""Which words become new tokens."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasmith.tokens.vocabulary import TokenVocabulary

TWO = TokenVocabulary.of(["TOK", "TOK2"], per_abstraction=2)


def test_new_tokens_are_numbered_on_across_the_abstractions() -> None:
    assert TWO.tokens == ("<s0>", "<s1>", "<s2>", "<s3>")
    assert [abstraction.written_out for abstraction in TWO.abstractions] == ["<s0><s1>", "<s2><s3>"]


def test_TOK2_is_not_read_as_TOK_and_2() -> None:  # noqa: N802
    """C-11: the reference script's own documented example comes to `<s0><s1>2`, and TOK2 is never trained."""
    theirs = "a photo of TOK2"
    for word, tokens in (("TOK", "<s0><s1>"), ("TOK2", "<s2><s3>")):
        theirs = theirs.replace(word, tokens)
    assert theirs == "a photo of <s0><s1>2"
    assert TWO.expand("a photo of TOK2") == "a photo of <s2><s3>"


@pytest.mark.parametrize("words", [["TOK2", "TOK"], ["TOK", "TOK2"]])
def test_the_order_of_the_abstractions_does_not_matter(words: list[str]) -> None:
    found = TokenVocabulary.of(words, per_abstraction=1).expand("TOK beside TOK2")
    assert sorted(found.split(" beside ")) == ["<s0>", "<s1>"]


@pytest.mark.parametrize(
    ("prompt", "expanded"),
    [
        ("TOK", "<s0><s1>"),
        ("(TOK:1.2), TOK's hat; TOK-like!", "(<s0><s1>:1.2), <s0><s1>'s hat; <s0><s1>-like!"),
        ("a STOKER's TOKEN, sTOK, TOK_1", "a STOKER's TOKEN, sTOK, TOK_1"),
        ("tok Tok", "tok Tok"),
        ("", ""),
    ],
)
def test_only_whole_words_in_the_same_case_are_written_out(prompt: str, expanded: str) -> None:
    assert TWO.expand(prompt) == expanded


def test_an_abstraction_with_signs_in_it_is_taken_literally() -> None:
    vocabulary = TokenVocabulary.of(["T.K", "a+b", "TOK-red", "TOK"], per_abstraction=1)
    assert vocabulary.expand("T.K TxK a+b aab TOK-red TOK") == "<s0> TxK <s1> aab <s2> <s3>"


WORDS = st.lists(st.text("ABC-1", min_size=1, max_size=4), min_size=1, max_size=4, unique=True)


@given(WORDS, st.lists(st.text("ABC-1 .,", max_size=5), max_size=6), st.integers(1, 3))
def test_expanding_writes_out_every_whole_word_once_and_leaves_the_rest(
    words: list[str], pieces: list[str], count: int
) -> None:
    vocabulary = TokenVocabulary.of(words, per_abstraction=count)
    prompt = " ".join(pieces)
    expanded = vocabulary.expand(prompt)
    if all(word[0].isalnum() and word[-1].isalnum() for word in words):
        # A word that begins with a sign may stand free only once its neighbour has become a token: `-` in `A-`.
        assert vocabulary.expand(expanded) == expanded, "expanding twice is expanding once"
    assert vocabulary.is_mentioned_in(prompt) == (expanded != prompt)
    # What stays is what is not a new token: taking the tokens out leaves a rest made of the prompt's own letters.
    assert len(re.findall(r"<s\d+>", expanded)) % count == 0


@given(WORDS)
def test_each_abstraction_alone_becomes_its_own_tokens(words: list[str]) -> None:
    vocabulary = TokenVocabulary.of(words, per_abstraction=2)
    for abstraction in vocabulary.abstractions:
        assert vocabulary.expand(f"of {abstraction.word}, here") == f"of {abstraction.written_out}, here"


@given(st.text(max_size=40))
def test_an_empty_vocabulary_changes_nothing(prompt: str) -> None:
    vocabulary = TokenVocabulary.of([], per_abstraction=2)
    assert vocabulary.expand(prompt) == prompt
    assert not vocabulary.is_mentioned_in(prompt)


def test_a_prompt_with_the_new_tokens_themselves_names_them() -> None:
    assert TWO.is_mentioned_in("a <s3>")
    assert not TWO.is_mentioned_in("a <s30>")


FACES = TokenVocabulary.of(["TOK", "TOK2"], per_abstraction=2, look_alikes=["Scarlett Johansson", ""])


@pytest.mark.parametrize(
    ("prompt", "expanded"),
    [
        ("a photo of TOK", "a photo of <s0><s1> Scarlett Johansson"),
        ("TOK's hat", "<s0><s1> Scarlett Johansson's hat"),
        ("TOK, smiling (TOK)!", "<s0><s1> Scarlett Johansson, smiling (<s0><s1> Scarlett Johansson)!"),
        ("TOK beside TOK2", "<s0><s1> Scarlett Johansson beside <s2><s3>"),
        (
            "TOK Scarlett Johansson, TOK, scarlett johansson",
            "<s0><s1> Scarlett Johansson, <s0><s1>, scarlett johansson",
        ),
        ("Scarlett Johansson", "Scarlett Johansson"),
    ],
)
def test_a_look_alike_stands_behind_its_abstraction_once(prompt: str, expanded: str) -> None:
    assert FACES.expand(prompt) == expanded
