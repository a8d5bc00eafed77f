"""Owns which objective a config asks for on a base; computes nothing."""

from typing import assert_never

from lorasmith.config.objective import ObjectiveConfig
from lorasmith.errors import ConfigError
from lorasmith.models.family import EdmSchedule, NoiseSchedule
from lorasmith.objectives.diffusion import DiffusionObjective
from lorasmith.objectives.edm import EdmObjective
from lorasmith.objectives.objective import Objective


def objective_for(schedule: NoiseSchedule | EdmSchedule, options: ObjectiveConfig) -> Objective:
    """The objective of a base's own noise. Raises ConfigError for min-SNR weights on an EDM base."""
    match schedule:
        case NoiseSchedule():
            return DiffusionObjective(
                schedule,
                snr_gamma=options.snr_gamma,
                measured_on="picture" if options.edm_style else "prediction",
                noise_offset=options.noise_offset,
            )
        case EdmSchedule():
            _refuse_min_snr(options)
            return EdmObjective(schedule, noise_offset=options.noise_offset)
        case other:
            assert_never(other)


def _refuse_min_snr(options: ObjectiveConfig) -> None:
    """The script's own guard runs before it knows the base's scheduler, and its run fails at the first step."""
    if options.snr_gamma is not None:
        raise ConfigError(
            f"min-SNR weights (γ = {options.snr_gamma:g}) have no meaning on a base with an EDM scheduler",
            where="objective.snr_gamma",
            remedy="Leave them out: EDM scales every noise level by itself.",
        )
