"""Every number that a run measures has one curve, under one name."""

import math

from lorasmith.events import StepDone, TimestepLoss, ValidationDone
from lorasmith.tracking.curves import curves_of

STEP = StepDone(
    step=7,
    loss=0.5,
    instance_loss=0.3,
    prior_loss=0.2,
    rates={"denoiser": 2e-5},
    gradient_norms={"denoiser": 0.7},
    seconds=0.25,
    distances={"denoiser": 2e-5},
    by_timestep={"0-124": TimestepLoss(0.1, 1), "875-999": TimestepLoss(0.4, 2)},
)


def test_a_step_shows_losses_rates_distances_norms_and_seconds_and_which_parts_train() -> None:
    assert curves_of(STEP, ["denoiser", "new_tokens_1"]) == {
        "train/loss": 0.5,
        "train/instance_loss": 0.3,
        "train/prior_loss": 0.2,
        "train_loss_by_timestep/0-124": 0.1,
        "train_loss_by_timestep/875-999": 0.4,
        "rate/denoiser": 2e-5,
        "prodigy_d/denoiser": 2e-5,
        "gradient_norm/denoiser": 0.7,
        "trains/denoiser": 1.0,
        "trains/new_tokens_1": 0.0,
        "time/seconds_per_step": 0.25,
    }


def test_a_validation_shows_its_loss_over_all_and_by_timestep() -> None:
    told = curves_of(ValidationDone(8, 0.4, {"0-124": 0.1}), ["denoiser"])
    assert told == {"validation/loss": 0.4, "validation_loss_by_timestep/0-124": 0.1}


def test_a_number_that_is_not_finite_has_no_point_on_any_curve() -> None:
    done = StepDone(1, math.nan, 0.1, None, {}, {"denoiser": math.inf}, 0.1)
    assert set(curves_of(done, [])) == {"train/instance_loss", "time/seconds_per_step"}
