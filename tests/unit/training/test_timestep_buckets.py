"""Losses by timestep: every timestep has one bucket, and nothing is lost or counted twice."""

from collections.abc import Callable

import pytest
import torch

from lorasmith.training.loop import Training, take_step
from lorasmith.training.timestep_buckets import BUCKETS, ExampleLosses, bucket_names, losses_by_bucket


def test_the_buckets_of_a_schedule_are_named_by_their_first_and_last_timestep() -> None:
    assert bucket_names(1000)[:2] == ("0-124", "125-249")
    assert bucket_names(1000)[-1] == "875-999"


@pytest.mark.parametrize("timesteps", [1000, 20, 999, 8])
def test_each_timestep_falls_into_the_bucket_whose_name_it_is_in(timesteps: int) -> None:
    assert len(bucket_names(timesteps)) == BUCKETS
    for timestep in range(timesteps):
        measured = ExampleLosses(torch.tensor([1.0]), torch.tensor([timestep]))
        (name,) = losses_by_bucket([measured], timesteps=timesteps)
        first, last = map(int, name.split("-"))
        assert first <= timestep <= last


def test_a_bucket_has_the_mean_of_its_examples_over_all_passes_and_their_number() -> None:
    first = ExampleLosses(torch.tensor([1.0, 5.0]), torch.tensor([3, 990]))
    second = ExampleLosses(torch.tensor([2.0]), torch.tensor([124]))
    found = losses_by_bucket([first, second], timesteps=1000)
    assert {name: (told.loss, told.examples) for name, told in found.items()} == {"0-124": (1.5, 2), "875-999": (5, 1)}


@pytest.mark.parametrize("prior", [None, {"class_prompt": "a photo of a dog", "num_class_images": 4}])
def test_a_steps_buckets_hold_its_instance_examples_and_average_to_its_instance_loss(
    small_run: Callable[..., Training], prior: dict[str, object] | None
) -> None:
    training = small_run(prior=prior, schedule={"gradient_accumulation": 2}, objective={"snr_gamma": 5.0})
    training.enter_phase()
    done = take_step(training)
    assert sum(told.examples for told in done.by_timestep.values()) == 2 * 2
    total = sum(told.loss * told.examples for told in done.by_timestep.values())
    assert total / 4 == pytest.approx(done.instance_loss, rel=1e-5)
    assert set(done.by_timestep) <= set(bucket_names(training.objective.timesteps))
