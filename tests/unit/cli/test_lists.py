"""An option that lists several takes commas and repetition alike."""

import pytest

from lorasmith.cli.lists import listed


@pytest.mark.parametrize("said", [["1,2,3"], ["1", "2", "3"], ["1, 2", "3"]])
def test_commas_and_repetition_say_the_same(said: list[str]) -> None:
    assert listed(said) == ("1", "2", "3")


@pytest.mark.parametrize("said", [None, []])
def test_an_option_that_was_not_given_lists_nothing(said: list[str] | None) -> None:
    assert listed(said) == ()
