"""Copies, variety and entropy, on rows whose answers are known."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lorasmith.evaluation.measures_of_variety import (
    copied,
    copied_share,
    copy_gap,
    distances,
    entropy,
    mean_pairwise_distance,
    vendi_score,
)


def noise(seed: int, count: int, width: int = 64) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    return np.random.default_rng(seed).normal(size=(count, width))


def test_distances_are_root_mean_squares() -> None:
    assert distances(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])) == pytest.approx(
        np.array([[math.sqrt(12.5), 0.0]])
    )


def test_a_picture_far_nearer_to_one_instance_image_is_a_copy() -> None:
    instance = noise(0, 5)
    pictures = np.concatenate([instance[:1] + 0.05 * noise(1, 1), noise(2, 1)])
    assert copied(distances(pictures, instance)) == [True, False]
    assert copied_share(distances(pictures, instance), [0, 1]).value == 0.5


def test_a_single_instance_image_has_no_second_nearest() -> None:
    with pytest.raises(ValueError, match="second-nearest"):
        copied(np.array([[0.1]]))


def test_what_is_learnt_has_no_copy_gap_and_what_is_remembered_has() -> None:
    scenes = noise(0, 6)
    instance, *held_out = (scenes + 0.3 * noise(seed, 6) for seed in range(1, 6))
    learnt = scenes + 0.3 * noise(9, 6)
    remembered = instance + 0.03 * noise(10, 6)

    def gap(pictures: np.ndarray[tuple[int, int], np.dtype[np.float64]]) -> float:
        others = np.stack([distances(pictures, twins) for twins in held_out])
        return copy_gap(distances(pictures, instance), others, range(6)).value

    assert abs(gap(learnt)) < 0.05
    assert gap(remembered) > 0.8


def test_the_copy_gap_does_not_grow_with_the_number_of_instance_images() -> None:
    pictures = noise(0, 40)
    for count in (2, 20):
        others = np.stack([distances(pictures, noise(seed, count)) for seed in range(2, 8)])
        assert abs(copy_gap(distances(pictures, noise(1, count)), others, range(40)).value) < 0.05


def test_the_vendi_score_counts_what_differs() -> None:
    alike = np.zeros((6, 4))
    apart = np.eye(6, 8) * 100
    assert vendi_score(alike, scale=1.0) == pytest.approx(1)
    assert vendi_score(apart, scale=1.0) == pytest.approx(6)
    assert vendi_score(np.concatenate([apart[:2]] * 3), scale=1.0) == pytest.approx(2)


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 8), st.floats(0.01, 10))
def test_the_vendi_score_lies_between_one_and_the_number_of_pictures(count: int, scale: float) -> None:
    assert 1 - 1e-6 <= vendi_score(noise(count, count), scale=scale) <= count + 1e-6


def test_the_mean_pairwise_distance_leaves_out_a_picture_and_itself() -> None:
    assert mean_pairwise_distance(np.array([[0.0], [2.0]])) == pytest.approx(2)
    assert math.isnan(mean_pairwise_distance(np.array([[0.0]])))


def test_entropy_of_known_samples() -> None:
    assert entropy(["red"] * 5) == 0
    assert entropy(["red", "blue", "snow", "grass"]) == pytest.approx(math.log(4))
