"""Intervals hold what they promise: they cover the truth as often as they say, and know groups from pictures."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorasmith.evaluation.intervals import Estimate, estimate, mean_of, students_t


def covers(found: Estimate, truth: float) -> bool:
    assert found.low is not None
    assert found.high is not None
    return found.low <= truth <= found.high


@pytest.mark.parametrize("groups", [6, 12, 25])
def test_the_interval_of_a_mean_covers_the_truth_as_often_as_it_says(groups: int) -> None:
    chance = np.random.default_rng(groups)
    hits = [covers(mean_of(chance.normal(0.4, 0.2, groups).tolist(), range(groups)), 0.4) for _ in range(200)]
    assert 0.91 <= sum(hits) / len(hits) <= 0.99


def test_an_interval_over_prompts_covers_prompts_to_come_where_one_over_pictures_does_not() -> None:
    chance = np.random.default_rng(1)
    by_prompt, by_picture = list[bool](), list[bool]()
    for _ in range(150):
        easy = chance.uniform(0, 1, 12)  # how often each prompt comes out right
        right = [float(chance.random() < share) for share in easy for _ in range(20)]
        prompts = [place for place in range(12) for _ in range(20)]
        by_prompt.append(covers(mean_of(right, prompts, is_share=True), 0.5))
        by_picture.append(covers(mean_of(right, range(len(right)), is_share=True), 0.5))
    assert sum(by_prompt) / 150 > 0.88
    assert sum(by_picture) / 150 < 0.7


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12), st.integers(1, 3))
def test_a_mean_lies_within_its_interval_and_the_interval_within_the_values(values: list[float], copies: int) -> None:
    found = mean_of(values * copies, list(range(len(values))) * copies)
    assert found.groups == len(values)
    assert found.low is not None
    assert found.high is not None
    assert min(values) - 1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= max(values) + 1e-9


def test_the_same_numbers_give_the_same_interval() -> None:
    values = [0.1, 0.5, 0.9, 0.3]
    assert mean_of(values, range(4)) == mean_of(values, range(4))


def test_a_perfect_share_is_not_certain() -> None:
    found = mean_of([1.0] * 25, range(25), is_share=True)
    assert found.high == 1.0
    assert found.low == pytest.approx(0.025 ** (1 / 25))  # Clopper and Pearson: 86 %
    none = mean_of([0.0] * 25, range(25), is_share=True)
    assert none.low == 0.0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 25))


def test_one_group_and_none_say_nothing_of_spread() -> None:
    assert mean_of([0.2, 0.6], ["only", "only"]) == Estimate(0.4, None, None, 1)
    empty = mean_of([], [])
    assert math.isnan(empty.value)
    assert empty.groups == 0


@pytest.mark.parametrize(("freedom", "printed"), [(1, 12.706), (2, 4.303), (3, 3.182), (11, 2.201), (24, 2.064)])
def test_students_t_is_what_tables_print(freedom: int, printed: float) -> None:
    assert students_t(freedom) == pytest.approx(printed, rel=0.002)


def test_any_statistic_of_rows_has_an_interval() -> None:
    rows = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0]])
    found = estimate(rows, "abc", lambda drawn: float(drawn[:, 0].mean() / drawn[:, 1].mean()))
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5, 0.5))


def test_rows_without_their_group_are_refused() -> None:
    with pytest.raises(ValueError, match="2 rows and 1 groups"):
        mean_of([1.0, 0.0], ["a"])
