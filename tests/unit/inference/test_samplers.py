from typing import Any

import numpy as np
import pytest

from lorasmith.errors import ConfigError
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.samplers import SAMPLERS, SCHEDULES, default_sampler, find_sampler, scheduler_of
from lorasmith.models.sdxl.noise import sampling_scheduler

SDXL = {
    "_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon", "steps_offset": 1, "timestep_spacing": "leading",
}  # fmt: skip
PLAYGROUND = {
    "_class_name": "EDMDPMSolverMultistepScheduler", "sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5,
    "num_train_timesteps": 1000, "prediction_type": "epsilon",
}  # fmt: skip


def base(**more: object) -> Any:
    """A base's scheduler configuration as its pipeline has it, defaults and all."""
    scheduler: Any = sampling_scheduler({**SDXL, **more})
    return scheduler.config


def made(name: str, schedule: str | None = None, **more: object) -> Any:
    return scheduler_of(find_sampler(name, schedule), base(**more))


@pytest.mark.parametrize(
    ("name", "sampler", "schedule"),
    [
        ("DPM++ 2M Karras", "DPM++ 2M", "Karras"),
        ("dpmpp_2m", "DPM++ 2M", "Automatic"),
        ("dpmpp_2m_karras", "DPM++ 2M", "Karras"),
        ("DPM++ 2M SDE Exponential", "DPM++ 2M SDE", "Exponential"),
        ("DPMSolverMultistepScheduler", "DPM++ 2M", "Automatic"),
        ("EulerDiscreteScheduler", "Euler", "Automatic"),
        ("euler a", "Euler a", "Automatic"),
        ("euler_ancestral", "Euler a", "Automatic"),
        ("DDIM", "DDIM", "Automatic"),
        ("uni_pc", "UniPC", "Automatic"),
        ("LCM", "LCM", "Automatic"),
        ("dpm++  2m  karras", "DPM++ 2M", "Karras"),
    ],
)
def test_a_sampler_is_found_by_the_names_of_every_program(name: str, sampler: str, schedule: str) -> None:
    found = find_sampler(name)
    assert (found.sampler.name, found.schedule.name) == (sampler, schedule)


def test_comfyuis_scheduler_is_named_apart() -> None:
    assert find_sampler("dpmpp_2m", "karras") == find_sampler("DPM++ 2M Karras")


def test_no_two_samplers_share_a_name() -> None:
    for kind in (SAMPLERS, SCHEDULES):
        names = [name.lower() for one in kind for name in {one.name, *one.others} - {one.name.lower()}]
        assert len(names) == len(set(names))


def test_a_name_nobody_knows_is_refused_with_names_that_are_near() -> None:
    with pytest.raises(ConfigError, match=r"no sampler called 'dpm 2m'.*Did you mean .*There are Euler, Euler a"):
        find_sampler("dpm 2m")
    with pytest.raises(ConfigError, match=r"no sampler called '\?\[31m'"):
        find_sampler("\x1b[31m")
    with pytest.raises(ConfigError, match=r"Euler a has no Karras schedule.*These have: Euler, Heun"):
        find_sampler("Euler a", "Karras")


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_every_sampler_keeps_the_bases_prediction_and_spacing(sampler: Any) -> None:
    scheduler = made(sampler.name, prediction_type="v_prediction", timestep_spacing="trailing")
    assert scheduler.config.prediction_type == "v_prediction"
    assert scheduler.config.get("timestep_spacing", "trailing") == "trailing"
    assert scheduler.config.beta_schedule == "scaled_linear"


def test_a_schedule_moves_the_steps() -> None:
    spaced = {name: made("DPM++ 2M", name) for name in ("Automatic", "Karras", "SGM Uniform")}
    for scheduler in spaced.values():
        scheduler.set_timesteps(10)
    middle = {name: float(scheduler.sigmas[5]) for name, scheduler in spaced.items()}
    assert len({round(sigma, 3) for sigma in middle.values()}) == 3


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_with_zero_terminal_snr_every_sampler_begins_in_noise_alone(sampler: Any) -> None:
    scheduler = made(sampler.name, rescale_betas_zero_snr=True, prediction_type="v_prediction")
    scheduler.set_timesteps(10)
    assert float(scheduler.alphas_cumprod[-1]) <= 2**-23
    assert int(scheduler.timesteps[0]) == 999


def test_edm_noise_has_samplers_of_its_own() -> None:
    edm: Any = sampling_scheduler(PLAYGROUND)
    assert default_sampler(edm.config).sampler.name == "DPM++ 2M"
    assert type(scheduler_of(find_sampler("Euler"), edm.config)).__name__ == "EDMEulerScheduler"
    with pytest.raises(ConfigError, match=r"EDM's noise.*Use Euler and DPM\+\+ 2M"):
        scheduler_of(find_sampler("DDIM"), edm.config)


def test_the_sampler_that_was_asked_for_draws_and_the_pipelines_own_is_put_back(open_tiny: Any) -> None:
    pipeline = open_tiny()
    usual = pipeline.scheduler
    requests = [
        DrawRequest("a dog", 1, settings=DrawSettings(steps=4, sampler=find_sampler(name)))
        for name in ("Euler", "Euler a", "DPM++ 2M Karras", "Euler")
    ]
    euler, ancestral, multistep, again = (np.asarray(picture).astype(int) for picture in draw(pipeline, requests))
    assert np.abs(euler - again).max() == 0
    assert np.abs(euler - ancestral).max() > 8
    assert np.abs(euler - multistep).max() > 0
    assert pipeline.scheduler is usual
