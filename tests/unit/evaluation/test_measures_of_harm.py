"""Leakage and drift, on samples whose answers are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorasmith.evaluation.measures_of_harm import (
    drift_of_embeddings,
    drift_of_factor,
    drift_of_factors,
    leak,
    mean_leak,
    total_variation,
)

VALUES = st.lists(st.sampled_from(["red", "blue", "snow"]), min_size=1, max_size=15)


def test_a_background_that_shows_unasked_is_a_leak() -> None:
    drawn = ["red"] * 18 + ["blue"] * 6
    base = ["red"] * 2 + ["blue"] * 22
    found = leak("background", drawn, base, ["red"] * 8)
    assert (found.frequency, found.base_frequency) == (18 / 24, 2 / 24)
    assert found.log_odds.value == pytest.approx(math.log(18.5 / 6.5) - math.log(2.5 / 22.5))
    assert found.log_odds.low is not None
    assert found.log_odds.low > 0


def test_instance_images_that_differ_in_all_leave_nothing_to_leak() -> None:
    backgrounds = ["red", "blue", "snow", "grass"]
    found = leak("background", ["red"] * 4, backgrounds, backgrounds)
    assert found.log_odds.value == pytest.approx(0)


def test_a_value_counts_by_how_often_the_instance_images_have_it() -> None:
    found = leak("size", ["small", "large"], ["normal", "normal"], ["small", "small", "small", "large"])
    assert found.frequency == (0.75 + 0.25) / 2
    assert found.base_frequency == 0.0


def test_all_and_none_stay_finite() -> None:
    found = leak("background", ["red"] * 5, ["blue"] * 5, ["red"])
    assert math.isfinite(found.log_odds.value)
    assert mean_leak([found, leak("size", ["small"], ["small"], ["small"])]) == found.log_odds.value / 2


@settings(max_examples=100, deadline=None)
@given(VALUES, VALUES)
def test_total_variation_is_a_distance_of_0_to_1(one: list[str], other: list[str]) -> None:
    assert 0 <= total_variation(one, other) <= 1 + 1e-9
    assert total_variation(one, other) == pytest.approx(total_variation(other, one))
    assert total_variation(one, one) == 0


def test_total_variation_of_known_samples() -> None:
    assert total_variation(["red", "blue"], ["red", "red"]) == 0.5
    assert total_variation(["red"], ["blue", "snow"]) == 1.0


def test_pictures_that_did_not_change_did_not_drift() -> None:
    values = ["red", "blue", "snow"] * 8
    assert drift_of_factor(values, values) == 0.0


def test_drift_beyond_chance_is_told_from_chance() -> None:
    chance = np.random.default_rng(0)

    def fresh() -> list[str]:
        return chance.choice(["red", "blue", "snow"], 24).tolist()

    pairs = [(fresh(), fresh()) for _ in range(30)]
    assert np.mean([total_variation(one, other) for one, other in pairs]) > 0.1
    assert abs(np.mean([drift_of_factor(one, other) for one, other in pairs])) < 0.03
    assert drift_of_factor(["red"] * 24, ["blue"] * 24) > 0.8


def test_the_drift_of_a_prompt_is_the_mean_over_its_unsaid_factors() -> None:
    base = [{"background": "red", "size": "small"}] * 10
    drawn = [{"background": "red", "size": "large"}] * 10
    whole = drift_of_factor(["large"] * 10, ["small"] * 10)
    assert drift_of_factors(drawn, base, ["background", "size"]) == pytest.approx(whole / 2)
    assert drift_of_factors(drawn, base, ["background"]) == 0


def test_embeddings_drift_by_angle_and_not_by_length() -> None:
    base = np.array([[1.0, 0.0], [0.0, 2.0]])
    assert drift_of_embeddings(3 * base, base, groups=[0, 1]).value == pytest.approx(0)
    turned = np.array([[0.0, 1.0], [0.0, 1.0]])
    assert drift_of_embeddings(turned, base, groups=[0, 1]).value == pytest.approx(0.5)
