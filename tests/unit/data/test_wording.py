"""How counts, spreads and lists of names are put into words."""

import pytest

from lorasmith.data.wording import counted, listed, spread


@pytest.mark.parametrize(
    ("values", "said"), [((16,), "16"), ((4, 8, 8), "4 and 8"), ((6, 1, 3), "1 to 6"), ((0.5, 1.0), "0.5 and 1")]
)
def test_values_are_told_by_their_ends(values: tuple[float, ...], said: str) -> None:
    assert spread(values) == said


def test_one_is_no_plural_and_long_lists_are_cut() -> None:
    assert [counted(1, "picture"), counted(2, "picture")] == ["1 picture", "2 pictures"]
    assert listed(["a", "b\x1b[2J", "c"], limit=2) == "a, b?[2J and 1 more"
