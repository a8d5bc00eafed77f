"""Captions name what is learnt as a whole word; other case and longer words do not count."""

import pytest
from made_pictures import example

from lorasmith.data.token_check import captions_missing_token, refuse_captions_without_token
from lorasmith.errors import DataError


@pytest.mark.parametrize("caption", ["TOK", "a photo of TOK, smiling", "(TOK)", "TOK's hat", "a TOK-like dog", "…TOK…"])
def test_a_caption_with_the_token_as_a_word_is_not_missing(caption: str) -> None:
    assert captions_missing_token([example(caption=caption)], ["TOK"]) == []


@pytest.mark.parametrize("caption", ["", "a dog", "TOK2", "aTOK", "TOK_s", "TOKÄ", "tok", "Tok"])
def test_longer_words_and_other_cases_are_missing(caption: str) -> None:
    one = example(caption=caption)
    assert captions_missing_token([one], ["TOK"]) == [one]


def test_any_of_several_abstractions_is_enough() -> None:
    both, second, none = example("a", caption="TOK and TOK2"), example("b", caption="TOK2"), example("c", caption="x")
    assert captions_missing_token([both, second, none], ["TOK", "TOK2"]) == [none]


def test_an_abstraction_with_signs_in_it_is_taken_literally() -> None:
    assert captions_missing_token([example(caption="a photo of <me.1>")], ["<me.1>"]) == []
    assert len(captions_missing_token([example(caption="a photo of <mex1>")], ["<me.1>"])) == 1


def test_the_refusal_counts_names_and_points_at_other_cases() -> None:
    examples = [example("a", caption="TOK"), example("b", caption="a tok"), example("c", caption="a dog")]
    with pytest.raises(DataError) as refused:
        refuse_captions_without_token(examples, ["TOK"])
    said = str(refused.value)
    assert "2 of 3 captions without TOK" in said
    assert ": b, c." in said
    assert "1 caption of these in another case (tok instead of TOK)" in said
    assert "data.captions_without_token" in said


def test_nothing_is_refused_when_all_captions_name_it() -> None:
    refuse_captions_without_token([example(caption="a TOK")], ["TOK"])
