# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# diffusers' schedulers are only partly typed.
"""Owns what a base's scheduler configuration says of its noise, for training and for drawing; adds none itself."""

from collections.abc import Mapping
from typing import Any, cast

from diffusers import (
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    SchedulerMixin,
)

from lorasmith.errors import DataError
from lorasmith.models.family import EdmSchedule, NoiseSchedule, PredictionType

SchedulerConfig = Mapping[str, Any]


def is_edm(config: SchedulerConfig) -> bool:
    """Whether a base was trained with EDM's noise (arXiv 2206.00364), as Playground v2.5 was."""
    return "EDM" in str(config.get("_class_name", ""))


def has_zero_terminal_snr(config: SchedulerConfig) -> bool:
    """Whether nothing of the picture is left at the last timestep (arXiv 2305.08891, section 3.1)."""
    return bool(config.get("rescale_betas_zero_snr", False))


def refuse_unknown_noise(config: SchedulerConfig) -> None:
    """Refuse a base whose noise is neither SDXL's nor EDM's: a schedule made of defaults would train it wrong."""
    name = str(config.get("_class_name", ""))
    if "FlowMatch" in name:
        raise DataError(
            f"the base's scheduler is {name}, and lorasmith trains bases with SDXL's or EDM's kind of noise",
            where="model.base",
            remedy="Take a base such as stabilityai/stable-diffusion-xl-base-1.0.",
        )


def noise_schedule(config: SchedulerConfig, prediction: PredictionType | None = None) -> NoiseSchedule | EdmSchedule:
    """The noise a base was trained with; `prediction` overrides what the configuration says is predicted.

    Raises DataError for a prediction that is neither the noise nor the velocity.
    """
    refuse_unknown_noise(config)
    predicted = prediction or _prediction_type(config)
    if is_edm(config):
        scheduler = cast(EDMEulerScheduler, EDMEulerScheduler.from_config(dict(config)))
        # Its own list begins with the most noise; the script draws among its first `num_train_timesteps`.
        sigmas = scheduler.sigmas[: int(scheduler.config["num_train_timesteps"])].flip(0).float()
        return EdmSchedule(sigmas, float(scheduler.config["sigma_data"]), predicted)
    schedule = cast(DDPMScheduler, DDPMScheduler.from_config(dict(config)))
    return NoiseSchedule(schedule.alphas_cumprod.float(), predicted)


def sampling_scheduler(config: SchedulerConfig) -> SchedulerMixin:
    """The scheduler pictures are drawn with: Euler on SDXL's noise, EDM's DPM-Solver++ on EDM's.

    With zero terminal SNR the first step has to be the last timestep, or brightness is lost (arXiv 2305.08891,
    section 3.3): such a base's steps are trailing whatever its configuration says.
    """
    said = dict(config)
    if is_edm(said):
        return cast(SchedulerMixin, EDMDPMSolverMultistepScheduler.from_config(said))
    if has_zero_terminal_snr(said):
        said["timestep_spacing"] = "trailing"
    return cast(SchedulerMixin, EulerDiscreteScheduler.from_config(said))


def _prediction_type(config: SchedulerConfig) -> PredictionType:
    found = config.get("prediction_type", "epsilon")
    if found not in ("epsilon", "v_prediction"):
        raise DataError(
            f"the base's scheduler predicts {found!r}; lorasmith trains epsilon and v_prediction", where="model.base",
            remedy="Set model.prediction if the scheduler's configuration is wrong.",
        )  # fmt: skip
    return found
