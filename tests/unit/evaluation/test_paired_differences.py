"""Paired differences and their intervals, on numbers whose answer is known."""

import numpy as np
import pytest

from lorasmith.evaluation.paired import by_concept, mean_over_concepts, paired_difference, share_over_concepts


def made(
    concepts: int, seeds: int, *, between: float, within: float, effect: float = 0.0, seed: int = 0
) -> dict[tuple[str, int], float]:
    """Normal scores: each concept its own level, each seed its own luck."""
    chance = np.random.default_rng(seed)
    return {
        (f"concept {place}", run): effect + level + within * chance.standard_normal()
        for place, level in enumerate(between * chance.standard_normal(concepts))
        for run in range(seeds)
    }


def test_a_concept_with_more_seeds_does_not_count_more() -> None:
    assert mean_over_concepts({"one": [1.0, 1.0, 1.0], "two": [0.0]}).mean == 0.5


def test_a_difference_is_taken_where_both_arms_have_a_trial() -> None:
    arm = {("one", 0): 1.0, ("one", 1): 5.0, ("two", 0): 3.0}
    reference = {("one", 0): 0.5, ("two", 0): 1.0, ("three", 0): 9.0}
    found = paired_difference(arm, reference)
    assert found is not None
    assert (found.mean, found.concepts, found.values) == (1.25, 2, 2)
    assert paired_difference({("one", 0): 1.0}, {("two", 0): 1.0}) is None


def test_pairing_takes_out_what_concepts_have_in_common() -> None:
    reference = made(12, 3, between=10.0, within=0.0)
    arm = {key: value + 0.1 for key, value in reference.items()}
    found = paired_difference(arm, reference)
    assert found is not None
    assert found.excludes_zero
    assert found.low == pytest.approx(0.1)
    assert found.high == pytest.approx(0.1)
    assert not mean_over_concepts(by_concept(arm)).excludes_zero


def test_half_the_width_is_students_for_the_mean_of_concepts() -> None:
    values = made(12, 1, between=1.0, within=0.0, seed=3)
    found = mean_over_concepts(by_concept(values))
    numbers = np.array(list(values.values()))
    expected = 2.201 * numbers.std(ddof=1) / np.sqrt(12)
    assert found.low is not None
    assert found.high is not None
    assert (found.high - found.low) / 2 == pytest.approx(expected, rel=0.08)


def test_intervals_hold_the_truth_about_as_often_as_they_say() -> None:
    held = 0
    for seed in range(200):
        found = mean_over_concepts(by_concept(made(12, 3, between=0.5, within=0.5, effect=1.0, seed=seed)), seed=seed)
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 1.0 <= found.high
    assert 0.91 <= held / 200 <= 0.995


def test_luck_within_concepts_widens_the_interval() -> None:
    calm = mean_over_concepts({f"{place}": [float(place % 2)] * 3 for place in range(12)})
    lucky = mean_over_concepts(
        {f"{place}": [place % 2 - 2.0, float(place % 2), place % 2 + 2.0] for place in range(12)}
    )
    assert calm.mean == lucky.mean
    assert (lucky.high or 0) - (lucky.low or 0) > 1.2 * ((calm.high or 0) - (calm.low or 0))


def test_one_concept_says_nothing_about_others() -> None:
    found = mean_over_concepts({"one": [1.0, 2.0]})
    assert (found.mean, found.low, found.high) == (1.5, None, None)
    assert not found.excludes_zero


def test_nothing_has_no_mean() -> None:
    with pytest.raises(ValueError, match="nothing to average"):
        mean_over_concepts({})


def test_a_share_is_of_the_sums_with_an_interval_over_concepts() -> None:
    wholes = {f"{place}": [1.0, 1.0] for place in range(12)} | {"hardly": [0.01, 0.01]}
    parts = {name: [0.1, 0.3] for name in wholes} | {"hardly": [0.01, 0.01]}
    found = share_over_concepts(parts, wholes)
    assert found.mean == pytest.approx((12 * 0.2 + 0.01) / 12.01), "the concept that lost all of nothing hardly counts"
    assert found.low is not None
    assert found.high is not None
    assert found.low < found.mean < found.high < 0.3
    assert (found.concepts, found.values) == (13, 26)


def test_there_is_no_share_of_nothing() -> None:
    for parts, wholes in (({}, {}), ({"one": [0.0]}, {"one": [0.0]})):
        with pytest.raises(ValueError, match="nothing to take a share of"):
            share_over_concepts(parts, wholes)
