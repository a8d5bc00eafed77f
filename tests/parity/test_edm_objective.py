"""EDM's objective and EDM's style on SDXL's noise, against diffusers' schedulers as the script uses them."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import pytest
import torch
from diffusers import EDMEulerScheduler, EulerDiscreteScheduler
from torch import Tensor

from lorasmith.config.objective import ObjectiveConfig
from lorasmith.errors import ConfigError
from lorasmith.models.family import EdmSchedule, PredictionType
from lorasmith.models.sdxl.noise import noise_schedule
from lorasmith.objectives.choice import objective_for
from lorasmith.objectives.edm import EdmObjective

PLAYGROUND: dict[str, Any] = {
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "sigma_data": 0.5,
    "sigma_min": 0.002,
    "sigma_max": 80.0,
}
SDXL: dict[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
PREDICTIONS: tuple[PredictionType, ...] = ("epsilon", "v_prediction")
TIMESTEPS = torch.tensor([0, 3, 250, 499, 750, 998, 999])


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Latents, noise and a denoiser's raw output."""
    generator = torch.Generator().manual_seed(11)
    latents, noise, output = (torch.randn(len(TIMESTEPS), 4, 8, 8, generator=generator) for _ in range(3))
    return latents, noise, output


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_an_edm_base_is_given_and_told_what_its_scheduler_gives_and_tells(prediction: PredictionType) -> None:
    scheduler: Any = EDMEulerScheduler.from_config(PLAYGROUND | {"prediction_type": prediction})
    ours = EdmObjective(edm(prediction))
    latents, noise, _ = drawn()
    places = 999 - TIMESTEPS  # its own list begins with the most noise
    sigmas = scheduler.sigmas[places].view(-1, 1, 1, 1)

    given = scheduler.precondition_inputs(latents + sigmas * noise, sigmas)

    torch.testing.assert_close(ours.corrupt(latents, noise, TIMESTEPS), given, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(ours.times(TIMESTEPS), scheduler.timesteps[places], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_the_loss_on_an_edm_base_is_the_error_of_the_denoised_picture(prediction: PredictionType) -> None:
    scheduler: Any = EDMEulerScheduler.from_config(PLAYGROUND | {"prediction_type": prediction})
    ours = EdmObjective(edm(prediction))
    latents, noise, output = drawn()
    sigmas = scheduler.sigmas[999 - TIMESTEPS].view(-1, 1, 1, 1)

    denoised = scheduler.precondition_outputs(latents + sigmas * noise, output, sigmas)
    theirs = (denoised - latents).square().flatten(1).mean(1)

    found = ours.losses(output, ours.target(latents, noise, TIMESTEPS), TIMESTEPS)
    # Where there is hardly any noise, theirs is a difference of almost equal numbers: compared where it has digits.
    torch.testing.assert_close(found[2:], theirs[2:], rtol=1e-5, atol=0)
    torch.testing.assert_close(found, theirs, rtol=2e-2, atol=1e-7)


def test_a_perfect_output_has_no_loss_and_unit_scale_at_every_noise() -> None:
    ours = EdmObjective(edm("epsilon"))
    latents, noise = 0.5 * torch.randn(7, 4, 64, 64), torch.randn(7, 4, 64, 64)
    target = ours.target(latents, noise, TIMESTEPS)
    assert ours.losses(target, target, TIMESTEPS).max() == 0
    assert (target.flatten(1).std(1) - 1).abs().max() < 0.05
    assert (ours.corrupt(latents, noise, TIMESTEPS).flatten(1).std(1) - 1).abs().max() < 0.05


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_edm_style_on_sdxls_noise_is_the_scripts_formula(prediction: PredictionType) -> None:
    scheduler: Any = EulerDiscreteScheduler(**SDXL, prediction_type=prediction)
    ours = objective_for(
        noise_schedule(SDXL | {"_class_name": "EulerDiscreteScheduler", "prediction_type": prediction}),
        ObjectiveConfig(edm_style=True),
    )
    latents, noise, output = drawn()
    sigmas = scheduler.sigmas[999 - TIMESTEPS].view(-1, 1, 1, 1)
    noised = latents + sigmas * noise

    if prediction == "epsilon":
        denoised = noised - sigmas * output
    else:
        denoised = output * (-sigmas / (sigmas**2 + 1) ** 0.5) + noised / (sigmas**2 + 1)
    theirs = (sigmas**-2 * (denoised - latents) ** 2).flatten(1).mean(1)

    given = noised / (sigmas**2 + 1) ** 0.5
    assert torch.equal(scheduler.timesteps[999 - TIMESTEPS].long(), ours.times(TIMESTEPS))
    torch.testing.assert_close(ours.corrupt(latents, noise, TIMESTEPS), given, rtol=1e-4, atol=1e-5)
    found = ours.losses(output, ours.target(latents, noise, TIMESTEPS), TIMESTEPS)
    torch.testing.assert_close(found, theirs, rtol=1e-4, atol=0)


def test_min_snr_weights_are_refused_on_an_edm_base() -> None:
    with pytest.raises(ConfigError, match="EDM") as refused:
        objective_for(noise_schedule(PLAYGROUND), ObjectiveConfig(snr_gamma=5.0))
    assert refused.value.problems[0].where == "objective.snr_gamma"


def edm(prediction: PredictionType) -> EdmSchedule:
    schedule = noise_schedule(PLAYGROUND | {"prediction_type": prediction})
    assert isinstance(schedule, EdmSchedule)
    assert schedule.sigmas.shape == (1000,)
    assert schedule.sigmas[0].item() == pytest.approx(0.00205, rel=1e-3)
    assert schedule.sigmas[-1].item() == pytest.approx(80.0)
    return schedule
