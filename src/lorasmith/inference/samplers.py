# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' schedulers are only partly typed.
"""Owns samplers by the names other programs know them by, as one table; refuses names that are not in it.

A sampler takes from the base what belongs to the base: its noise, what it predicts, how its timesteps are spaced.
"""

import difflib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DEISMultistepScheduler,
    DPMSolverMultistepScheduler,
    DPMSolverSinglestepScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    SchedulerMixin,
    TCDScheduler,
    UniPCMultistepScheduler,
)
from diffusers.schedulers.scheduling_ddim import rescale_zero_terminal_snr

from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError
from lorasmith.models.sdxl.noise import SchedulerConfig, has_zero_terminal_snr, is_edm

_LEAST_SIGNAL: Final = 2**-24
"""What diffusers leaves of the picture at the last timestep in place of nothing, so that no noise level is infinite."""


@dataclass(frozen=True)
class Sampler:
    """A way from noise to a picture: A1111's name for it, the names others have, and diffusers' class with settings."""

    name: str
    others: tuple[str, ...]
    scheduler: type[Any]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    edm: type[Any] | None = None
    """The class that does it on EDM's noise, where there is one."""


@dataclass(frozen=True)
class Schedule:
    """Where a sampler's steps lie: A1111's name, the names others have, and diffusers' setting."""

    name: str
    others: tuple[str, ...]
    settings: Mapping[str, Any]


SAMPLERS: Final = (
    Sampler("Euler", ("euler", "k_euler"), EulerDiscreteScheduler, edm=EDMEulerScheduler),
    Sampler("Euler a", ("euler_ancestral", "k_euler_a", "euler ancestral"), EulerAncestralDiscreteScheduler),
    Sampler("Heun", ("heun", "k_heun"), HeunDiscreteScheduler),
    Sampler("DPM2", ("dpm_2", "k_dpm_2"), KDPM2DiscreteScheduler),
    Sampler("DPM2 a", ("dpm_2_ancestral", "k_dpm_2_a"), KDPM2AncestralDiscreteScheduler),
    Sampler("DPM++ 2M", ("dpmpp_2m",), DPMSolverMultistepScheduler, edm=EDMDPMSolverMultistepScheduler),
    Sampler(
        "DPM++ 2M SDE", ("dpmpp_2m_sde", "dpmpp_2m_sde_gpu"), DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver++"},
    ),
    Sampler(
        "DPM++ 3M SDE", ("dpmpp_3m_sde", "dpmpp_3m_sde_gpu"), DPMSolverMultistepScheduler,
        {"algorithm_type": "sde-dpmsolver++", "solver_order": 3},
    ),
    Sampler("DPM++ 2S", ("dpmpp_2s",), DPMSolverSinglestepScheduler, {"lower_order_final": True}),
    Sampler(
        "DPM++ SDE", ("dpmpp_sde", "dpmpp_sde_gpu"), DPMSolverSinglestepScheduler,
        {"algorithm_type": "sde-dpmsolver++", "lower_order_final": True},
    ),
    Sampler("DDIM", ("ddim",), DDIMScheduler),
    Sampler("DDPM", ("ddpm",), DDPMScheduler),
    Sampler("PLMS", ("pndm", "plms"), PNDMScheduler, {"skip_prk_steps": True}),
    Sampler("UniPC", ("uni_pc", "uni_pc_bh2"), UniPCMultistepScheduler),
    Sampler("DEIS", ("deis",), DEISMultistepScheduler, {"algorithm_type": "deis"}),
    Sampler("LCM", ("lcm",), LCMScheduler),
    Sampler("TCD", ("tcd",), TCDScheduler),
)  # fmt: skip

SCHEDULES: Final = (
    Schedule("Automatic", ("automatic",), {}),
    Schedule("Karras", ("karras",), {"use_karras_sigmas": True}),
    Schedule("Exponential", ("exponential",), {"use_exponential_sigmas": True}),
    Schedule("Uniform", ("normal", "uniform"), {"timestep_spacing": "linspace"}),
    Schedule("SGM Uniform", ("sgm_uniform", "simple", "trailing"), {"timestep_spacing": "trailing"}),
    Schedule("DDIM", ("ddim_uniform", "leading"), {"timestep_spacing": "leading"}),
)
AUTOMATIC: Final = SCHEDULES[0]


@dataclass(frozen=True)
class SamplerChoice:
    """A sampler and where its steps lie."""

    sampler: Sampler
    schedule: Schedule = AUTOMATIC


def find_sampler(name: str, schedule: str | None = None) -> SamplerChoice:
    """A sampler by any of its names (`DPM++ 2M Karras`, `dpmpp_2m`, `DPMSolverMultistepScheduler`), and its schedule.

    ConfigError, with the names that are near, for one that is not known or does not take the schedule.
    """
    sampler, own = _named(name)
    chosen = _schedule(schedule) if schedule is not None else own
    if not _accepts(sampler, chosen):
        able = ", ".join(one.name for one in SAMPLERS if _accepts(one, chosen))
        raise ConfigError(
            f"the sampler {sampler.name} has no {chosen.name} schedule", where="sampler", remedy=f"These have: {able}."
        )
    return SamplerChoice(sampler, chosen)


def default_sampler(base: SchedulerConfig) -> SamplerChoice:
    """What a base is drawn with where nothing is said: Euler, and DPM++ 2M on EDM's noise."""
    return find_sampler("DPM++ 2M" if is_edm(base) else "Euler")


def scheduler_of(choice: SamplerChoice, base: SchedulerConfig) -> SchedulerMixin:
    """The sampler for a base whose scheduler's configuration this is. ConfigError when it cannot draw with the base."""
    if is_edm(base):
        return _of_class(_on_edm(choice), base)
    own = {**choice.sampler.settings, **choice.schedule.settings}
    if has_zero_terminal_snr(base):
        # The first step has to be the last timestep, or brightness is lost (arXiv 2305.08891, section 3.3).
        own["timestep_spacing"] = "trailing"
        if "rescale_betas_zero_snr" not in _settings_of(choice.sampler):
            own["trained_betas"] = _rescaled_betas(base)
    return _of_class(choice.sampler.scheduler, base, **own)


def _of_class(scheduler: Any, base: SchedulerConfig, **own: Any) -> SchedulerMixin:
    """Settings of one's own go beside the configuration: of what is in it, diffusers passes over the defaults."""
    return cast(SchedulerMixin, scheduler.from_config(dict(base), **own))


def _settings_of(sampler: Sampler) -> set[str]:
    return set(inspect.signature(sampler.scheduler.__init__).parameters)


def _on_edm(choice: SamplerChoice) -> type[Any]:
    if choice.sampler.edm is None or choice.schedule is not AUTOMATIC:
        able = " and ".join(one.name for one in SAMPLERS if one.edm is not None)
        raise ConfigError(
            f"the base has EDM's noise, which {choice.sampler.name} {choice.schedule.name} does not draw with",
            where="sampler",
            remedy=f"Use {able}, without a schedule.",
        )
    return choice.sampler.edm


def _rescaled_betas(base: SchedulerConfig) -> list[float]:
    """The betas of zero terminal SNR for classes that cannot make them, with next to nothing in place of no signal."""
    plain: Any = _of_class(DDPMScheduler, base, rescale_betas_zero_snr=False)
    betas = rescale_zero_terminal_snr(plain.betas)
    left = torch.cumprod(1 - betas, dim=0)
    betas[-1] = 1 - _LEAST_SIGNAL / left[-2]
    return betas.tolist()


def _named(name: str) -> tuple[Sampler, Schedule]:
    wanted = _plain(name)
    for sampler in SAMPLERS:
        for known in _names(sampler):
            if wanted == known:
                return sampler, AUTOMATIC
            for schedule in SCHEDULES:
                if wanted in (f"{known} {_plain(other)}" for other in (schedule.name, *schedule.others)):
                    return sampler, schedule
    raise _unknown("sampler", name, [one.name for one in SAMPLERS], [known for one in SAMPLERS for known in one.others])


def _schedule(name: str) -> Schedule:
    for schedule in SCHEDULES:
        if _plain(name) in (_plain(schedule.name), *map(_plain, schedule.others)):
            return schedule
    raise _unknown(
        "schedule", name, [one.name for one in SCHEDULES], [known for one in SCHEDULES for known in one.others]
    )


def _names(sampler: Sampler) -> list[str]:
    """All names, written plainly; a class's name stands for the first sampler of it."""
    first_of_its_class = next(one for one in SAMPLERS if one.scheduler is sampler.scheduler) is sampler
    its_class = (sampler.scheduler.__name__,) if first_of_its_class else ()
    return [_plain(known) for known in (sampler.name, *sampler.others, *its_class)]


def _plain(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().lower()


def _accepts(sampler: Sampler, schedule: Schedule) -> bool:
    return set(schedule.settings) <= _settings_of(sampler)


def _unknown(kind: str, name: str, names: list[str], others: list[str]) -> ConfigError:
    near = difflib.get_close_matches(name, [*names, *others], n=2, cutoff=0.6)
    meant = f"Did you mean {' or '.join(near)}? " if near else ""
    return ConfigError(
        f"there is no {kind} called {shown(name, limit=60)!r}",
        where=kind,
        remedy=f"{meant}There are {', '.join(names)}.",
    )
