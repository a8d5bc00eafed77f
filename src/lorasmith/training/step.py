"""Owns one micro-step: from a batch to its losses. Backward, clipping and stepping belong to the loop."""

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from lorasmith import rng
from lorasmith.data.batches import Batch
from lorasmith.data.examples import Role
from lorasmith.models.family import Conditioning, DiffusionFamily, PromptEmbeddings
from lorasmith.objectives.objective import Objective
from lorasmith.training.teacher import DenoiserInput, PicturesTeach, Teacher

PICTURES_TEACH = PicturesTeach()


@dataclass(frozen=True)
class StepDraws:
    """All the chance in one micro-step, each example's own."""

    posterior: Tensor
    noise: Tensor
    offsets: Tensor
    timesteps: Tensor


@dataclass(frozen=True)
class StepLoss:
    """`total` is what is differentiated: instance + weight · prior; the other two are unweighted means.

    `examples` [B] is what each example lost, before its weight; the objective's weights are in all of them.
    """

    total: Tensor
    instance: Tensor
    prior: Tensor | None
    examples: Tensor


def training_step(
    family: DiffusionFamily,
    objective: Objective,
    batch: Batch,
    *,
    prompts: PromptEmbeddings,
    draws: StepDraws,
    teacher: Teacher = PICTURES_TEACH,
) -> StepLoss:
    """One forward pass over a batch of instance and class examples."""
    latents = batch.latents.to(family.device).sample(draws.posterior)
    noise = objective.noise(draws.noise, draws.offsets)
    noisy_latents = objective.corrupt(latents, noise, draws.timesteps)
    conditioning = Conditioning(prompts, family.time_ids(batch.sizes))
    given = DenoiserInput(noisy_latents, objective.times(draws.timesteps), conditioning)
    prediction = family.predict(given.noisy_latents, given.times, given.conditioning)
    target = teacher.target(batch, given, objective.target(latents, noise, draws.timesteps))
    losses = objective.losses(prediction, target, draws.timesteps, batch.masks)
    return reduce_losses(losses, batch)


def reduce_losses(losses: Tensor, batch: Batch) -> StepLoss:
    """Losses [B] to one: each role's mean, class examples at their weight (DreamBooth, arXiv 2208.12242, equation 2).

    Every example carries its own weight, so no order of the batch can give one half's weight to the other.
    """
    counts = Counter(batch.roles)
    shares = batch.weights / torch.tensor([counts[role] for role in batch.roles])
    unweighted = losses.detach()
    return StepLoss(
        total=(losses * shares.to(losses.device)).sum(),
        instance=unweighted[places_of(batch, Role.INSTANCE)].mean(),
        prior=unweighted[places_of(batch, Role.CLASS)].mean() if counts[Role.CLASS] else None,
        examples=unweighted,
    )


def draw_chance(batch: Batch, objective: Objective, *, seed: int, micro_step: int, device: torch.device) -> StepDraws:
    """Noise and timesteps of a micro-step, each a function of (seed, micro-step, place in the batch, sample id).

    Drawn on the CPU and moved, so that every device sees the same numbers.
    """
    latents = batch.latents.mean
    shape, channels = latents.shape[1:], (latents.shape[1], 1, 1)
    places = [(micro_step, place, draw.example.id) for place, draw in enumerate(batch.draws)]

    def normal(purpose: rng.Purpose, size: tuple[int, ...]) -> Tensor:
        drawn = [torch.randn(size, generator=rng.generator(seed, purpose, *place)) for place in places]
        return torch.stack(drawn).to(device)

    units = [torch.rand((), generator=rng.generator(seed, "timestep", *place)).item() for place in places]
    return StepDraws(
        posterior=normal("posterior", tuple(shape)),
        noise=normal("noise", tuple(shape)),
        offsets=normal("offset", channels),
        timesteps=torch.tensor([objective.timestep_of(unit) for unit in units], device=device),
    )


def places_of(batch: Batch, wanted: Role) -> list[int]:
    """Where the batch's examples of one role are."""
    return [place for place, role in enumerate(batch.roles) if role is wanted]
