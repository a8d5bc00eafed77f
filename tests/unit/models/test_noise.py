"""What a base's scheduler says of its noise decides how it is trained and how it is drawn with."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from typing import Any

import pytest
import torch
from diffusers import EDMDPMSolverMultistepScheduler, EulerDiscreteScheduler

from lorasmith.errors import DataError
from lorasmith.models.family import EdmSchedule, NoiseSchedule
from lorasmith.models.sdxl.noise import noise_schedule, sampling_scheduler

SDXL: dict[str, Any] = {
    "_class_name": "EulerDiscreteScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "timestep_spacing": "leading",
    "steps_offset": 1,
}
EDM: dict[str, Any] = {"_class_name": "EDMEulerScheduler", "sigma_data": 0.5}


def test_sdxls_noise_is_drawn_with_euler_as_its_file_says() -> None:
    scheduler: Any = sampling_scheduler(SDXL)
    scheduler.set_timesteps(10)
    assert isinstance(scheduler, EulerDiscreteScheduler)
    assert scheduler.timesteps[0] == 901


def test_zero_terminal_snr_is_read_from_the_file_and_its_last_timestep_is_drawn_from() -> None:
    said = SDXL | {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"}
    schedule = noise_schedule(said)
    assert isinstance(schedule, NoiseSchedule)
    assert schedule.prediction_type == "v_prediction"
    assert schedule.alphas_cumprod[-1] == 0

    scheduler: Any = sampling_scheduler(said)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps[0] == 999, "with leading steps the pure noise would never be seen"
    assert scheduler.config.rescale_betas_zero_snr


def test_edms_noise_is_trained_and_drawn_its_own_way() -> None:
    schedule = noise_schedule(EDM)
    assert isinstance(schedule, EdmSchedule)
    assert schedule.sigma_data == 0.5
    assert torch.all(schedule.sigmas.diff() > 0)
    assert isinstance(sampling_scheduler(EDM), EDMDPMSolverMultistepScheduler)


def test_the_config_overrides_what_the_file_says_is_predicted() -> None:
    assert noise_schedule(SDXL).prediction_type == "epsilon"
    assert noise_schedule(SDXL, "v_prediction").prediction_type == "v_prediction"


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "FlowMatch"),
        (SDXL | {"prediction_type": "sample"}, "sample"),
    ],
)
def test_noise_that_lorasmith_does_not_train_is_refused_by_name(said: dict[str, Any], named: str) -> None:
    with pytest.raises(DataError, match=named) as refused:
        noise_schedule(said)
    assert refused.value.problems[0].where == "model.base"
