"""Owns the denoising loss on pictures nobody trained on, at fixed noise; refuses to weigh or to train."""

from collections.abc import Sequence
from typing import Final

import torch
from PIL import Image

from lorasmith import rng
from lorasmith.config.objective import ObjectiveConfig
from lorasmith.evaluation.features import as_tensor
from lorasmith.models.family import Conditioning, DiffusionFamily, PromptEmbeddings, stack_prompts
from lorasmith.objectives.choice import objective_for
from lorasmith.sizes import Corner, Size, SizeConditioning

STRATA: Final = 4
"""Timesteps each picture is measured at, spread evenly over the schedule."""
_AT_ONCE: Final = 8


@torch.no_grad()
def held_out_losses(
    family: DiffusionFamily, pictures: Sequence[Image.Image], prompts: Sequence[PromptEmbeddings]
) -> list[float]:
    """For each picture, with its prompt's embeddings, the unweighted loss averaged over timesteps.

    Noise and timesteps depend on the picture's place alone, so that two adapters are measured on the same.
    """
    starts = range(0, len(pictures), _AT_ONCE)
    return [
        loss
        for start in starts
        for loss in _losses(family, pictures[start : start + _AT_ONCE], prompts[start : start + _AT_ONCE], first=start)
    ]


def _losses(
    family: DiffusionFamily, pictures: Sequence[Image.Image], prompts: Sequence[PromptEmbeddings], *, first: int
) -> list[float]:
    latents = family.encode_pictures(as_tensor(pictures)).mean
    size = Size(pictures[0].height, pictures[0].width)
    whole = SizeConditioning(size, Corner(0, 0), size)
    conditioning = Conditioning(stack_prompts(prompts).to(family.device), family.time_ids([whole] * len(pictures)))
    objective = objective_for(family.noise_schedule, ObjectiveConfig())
    total = torch.zeros(len(pictures))
    for stratum in range(STRATA):
        noise = torch.stack([_noise(latents.shape[1:], first + place, stratum) for place in range(len(pictures))]).to(
            family.device
        )
        timesteps = torch.full((len(pictures),), objective.timestep_of((stratum + 0.5) / STRATA), device=family.device)
        noisy = objective.corrupt(latents, noise, timesteps)
        prediction = family.predict(noisy, objective.times(timesteps), conditioning)
        errors = (prediction.float() - objective.target(latents, noise, timesteps).float()).square()
        total += errors.flatten(1).mean(1).cpu()
    return [float(loss) for loss in total / STRATA]


def _noise(shape: torch.Size, place: int, stratum: int) -> torch.Tensor:
    return torch.randn(shape, generator=rng.generator(0, "validation", "evaluation", place, stratum))
