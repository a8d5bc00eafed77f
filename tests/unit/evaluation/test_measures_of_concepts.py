"""Fidelity, prompt following and the joint score, on readings whose answers are known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorasmith.evaluation.measures import (
    Judged,
    average_precision,
    factor_accuracies,
    fidelity,
    harmonic_mean,
    joint,
    mean_average_precision,
    nearest_labels,
    product,
    prompt_following,
)

ASKED = {"background": "red", "size": "small"}


def picture(prompt: int, *, right: bool, **seen: str) -> Judged:
    return Judged(prompt, right, ASKED, {**ASKED, "tilt": "upright", **seen})


def test_joint_counts_only_pictures_in_which_all_is_right() -> None:
    pictures = [
        picture(0, right=True),
        picture(1, right=True, background="blue"),
        picture(2, right=False),
        picture(3, right=False, background="blue", size="large"),
    ]
    assert joint(pictures).value == 0.25
    assert fidelity(pictures).value == 0.5
    assert prompt_following(pictures).value == (1 + 0.5 + 1 + 0) / 4
    assert product(pictures).value == 0.5 * 0.625
    assert harmonic_mean(pictures).value == pytest.approx(2 * 0.5 * 0.625 / 1.125)


def test_what_a_prompt_does_not_say_does_not_count() -> None:
    assert joint([picture(0, right=True, tilt="left"), picture(1, right=True, place="top")]).value == 1.0


def test_a_prompt_that_says_nothing_is_obeyed() -> None:
    assert Judged(0, True, {}, {"background": "red"}).is_all_right


def test_failures_that_exclude_each_other_leave_joint_below_the_product() -> None:
    pictures = [picture(0, right=True, background="blue", size="large"), picture(1, right=False)]
    assert joint(pictures).value == 0.0
    assert product(pictures).value == 0.25


def test_factors_are_counted_where_they_are_asked_for() -> None:
    pictures = [
        Judged(0, True, {"background": "red"}, {"background": "red", "tilt": "left"}),
        Judged(1, True, {"background": "red", "tilt": "left"}, {"background": "blue", "tilt": "left"}),
    ]
    found = factor_accuracies(pictures)
    assert {name: one.value for name, one in found.items()} == {"background": 0.5, "tilt": 1.0}
    assert found["tilt"].groups == 1


def test_nothing_right_is_nought_and_not_a_division_by_it() -> None:
    assert harmonic_mean([picture(0, right=False, background="blue", size="large")]).value == 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=20))
def test_the_scores_keep_their_order(rows: list[tuple[int, bool, bool, bool]]) -> None:
    pictures = [
        picture(prompt, right=right, background="red" if one else "blue", size="small" if two else "large")
        for prompt, right, one, two in rows
    ]
    both, one, other = joint(pictures).value, fidelity(pictures).value, prompt_following(pictures).value
    assert both <= min(one, other) + 1e-9
    assert product(pictures).value <= min(one, other) + 1e-9
    assert min(one, other) - 1e-9 <= harmonic_mean(pictures).value <= max(one, other) + 1e-9


def test_the_nearest_sibling_is_told_by_the_mean_of_its_renders() -> None:
    gallery = np.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0], [-0.6, 0.8]])
    labels = ["dog", "dog", "striped dog", "striped dog"]
    assert nearest_labels(np.array([[2.0, 0.4], [0.1, 3.0]]), gallery, labels) == ["dog", "striped dog"]


def test_average_precision_is_that_of_the_textbook() -> None:
    scores = np.array([0.9, 0.8, 0.7, 0.6])
    assert average_precision(scores, np.array([True, False, True, False])) == pytest.approx((1 + 2 / 3) / 2)
    assert average_precision(scores, np.array([True, True, False, False])) == 1.0


def test_ties_do_not_flatter() -> None:
    assert average_precision(np.array([0.5, 0.5]), np.array([True, False])) == 0.5
    assert average_precision(np.array([0.5, 0.5]), np.array([False, True])) == 0.5


def test_a_gallery_without_the_concept_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing in the gallery"):
        average_precision(np.array([0.5]), np.array([False]))


def test_a_picture_of_the_concept_finds_its_likes_and_one_of_a_rival_does_not() -> None:
    gallery = np.array([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]])
    relevant = np.array([True, True, False, False])
    right = mean_average_precision(np.array([[1.0, 0.05]]), gallery, relevant, prompts=[0])
    wrong = mean_average_precision(np.array([[0.0, 1.0]]), gallery, relevant, prompts=[0])
    assert right.value == 1.0
    assert wrong.value == pytest.approx((1 / 3 + 2 / 4) / 2)
