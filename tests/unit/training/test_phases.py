"""Which parts train when, as a pure function of the step."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasmith.config.train import TrainConfig
from lorasmith.training.phases import NEW_TOKENS, TEXT_ENCODERS, PartName, PhaseSchedule
from lorasmith.training.plan import phase_schedule

DENOISER: frozenset[PartName] = frozenset({"denoiser"})
ALL = DENOISER | NEW_TOKENS | TEXT_ENCODERS


def stops() -> st.SearchStrategy[tuple[int, int, int]]:
    return st.integers(1, 60).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(0, n)))


@given(stops(), st.sets(st.sampled_from(sorted(ALL)), min_size=1))
def test_every_step_is_in_exactly_one_stretch_and_trains_what_it_says(
    numbers: tuple[int, int, int], parts: set[PartName]
) -> None:
    total, pivot, text_stop = numbers
    schedule = PhaseSchedule(frozenset(parts), total, pivot, text_stop)
    starts = schedule.boundaries()
    assert starts[0] == 0
    assert list(starts) == sorted(set(starts))
    for step in range(total):
        stretch = max(start for start in starts if start <= step)
        assert schedule.phase_at(step) == schedule.phase_at(stretch)
        trains = schedule.phase_at(step).trains
        assert ("denoiser" in trains) == ("denoiser" in parts)
        assert trains & NEW_TOKENS == (parts & NEW_TOKENS if step < pivot else frozenset())
        assert trains & TEXT_ENCODERS == (parts & TEXT_ENCODERS if step < text_stop else frozenset())


@given(stops())
def test_what_has_stopped_never_starts_again(numbers: tuple[int, int, int]) -> None:
    total, pivot, text_stop = numbers
    schedule = PhaseSchedule(ALL, total, pivot, text_stop)
    for step in range(1, total):
        assert schedule.phase_at(step).trains <= schedule.phase_at(step - 1).trains


@given(stops())
def test_neighbouring_stretches_differ(numbers: tuple[int, int, int]) -> None:
    schedule = PhaseSchedule(ALL, *numbers)
    starts = schedule.boundaries()
    for before, after in pairwise(starts):
        assert schedule.phase_at(before) != schedule.phase_at(after)


def test_the_pivot_step_is_the_first_without_new_tokens() -> None:
    schedule = PhaseSchedule(DENOISER | NEW_TOKENS, 10, 4, 0)
    assert [schedule.phase_at(step).trains_text for step in (3, 4)] == [True, False]
    assert schedule.boundaries() == (0, 4)
    assert schedule.phase_at(3).name == "new tokens + denoiser"
    assert schedule.phase_at(4).name == "denoiser"


SmallConfig = Callable[..., TrainConfig]


@pytest.mark.parametrize(
    ("options", "steps", "pivot"),
    [
        ({"pivot": 0.0}, 10, 0),
        ({"pivot": 1.0}, 10, 10),
        ({"pivot": 0.5}, 10, 5),
        ({"pivot": 0.3, "pivot_step": 7}, 10, 7),
        ({"pivot": 0.3, "pivot_step": 0}, 10, 0),
        ({"pivot_step": 99}, 10, 10),
        ({"pivot": 0.5}, 1, 1),
        ({"pivot": 0.01}, 10, 1),
    ],
)
def test_the_pivot_is_a_share_or_a_step(
    small_config: SmallConfig, options: dict[str, float], steps: int, pivot: int
) -> None:
    assert phase_schedule(small_config(schedule=options), steps).pivot_step == pivot


@given(st.floats(0.001, 1), st.integers(1, 2000))
def test_a_share_above_zero_is_within_half_a_step_and_never_nothing(share: float, steps: int) -> None:
    config = TrainConfig.model_validate({"schedule": {"pivot": share}})
    pivot = phase_schedule(config, steps).pivot_step
    assert 1 <= pivot <= steps
    assert pivot == 1 or abs(pivot - share * steps) <= 0.5


def test_a_one_epoch_run_trains_tokens_until_half_way(small_config: SmallConfig) -> None:
    """C-13: the script's pivot is int(0.5 · 1 epoch) = epoch 0, so a one-epoch run never trains its tokens."""
    assert int(0.5 * 1) == 0
    schedule = phase_schedule(small_config(schedule={"epochs": 1, "steps": None}), 12)
    trains = ["new_tokens_1" in schedule.phase_at(step).trains for step in range(12)]
    assert trains == [True] * 6 + [False] * 6


def test_class_images_do_not_move_the_pivot(small_config: SmallConfig) -> None:
    """C-13: in the script an epoch is as long as the class images are many, and the pivot is counted in epochs."""
    prior = {"class_prompt": "a dog", "num_class_images": 100}
    with_class, without = (phase_schedule(small_config(prior=p), 40) for p in (prior, None))
    assert with_class.pivot_step == without.pivot_step == 20


def test_a_rate_of_zero_leaves_a_part_out_and_the_others_in(small_config: SmallConfig) -> None:
    config = small_config(rates={"new_tokens_1": 0.0, "text_encoder_2": 0.0}, adapter={"text_encoders": True})
    assert phase_schedule(config, 10).parts == {"denoiser", "new_tokens_2", "text_encoder_1"}


def test_text_encoders_stop_at_their_own_fraction(small_config: SmallConfig) -> None:
    config = small_config(adapter={"text_encoders": True}, schedule={"text_encoder_fraction": 0.2, "pivot": 0.5})
    schedule = phase_schedule(config, 10)
    assert schedule.boundaries() == (0, 2, 5)
    assert schedule.phase_at(2).trains == {"denoiser"} | NEW_TOKENS
