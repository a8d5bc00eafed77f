"""Owns the validation loss: held-out pictures under noise and timesteps that are the same each time it is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from lorasmith import rng
from lorasmith.data.batches import Batch
from lorasmith.events import Emit, SamplesReady, ValidationDone
from lorasmith.training.loop import Training
from lorasmith.training.phases import Phase
from lorasmith.training.step import StepDraws, training_step
from lorasmith.training.timestep_buckets import BUCKETS, bucket_names

_STRATA = BUCKETS
"""Timesteps measured per picture, spread evenly over the schedule."""


class Sampler(Protocol):
    """Draws validation pictures of the run as it stands."""

    def draw(self, step: int) -> SamplesReady:
        """Draw all prompts after `step` finished updates."""
        ...


@dataclass(frozen=True)
class RunValidation:
    """Held-out loss and pictures, in that order; each is left out when there is nothing to do it with."""

    training: Training
    held_out: Sequence[Batch]
    """One batch of one picture each."""
    sampler: Sampler | None
    emit: Emit

    def validate(self, step: int, phase: Phase) -> None:
        """Measure and draw after `step` finished updates."""
        if self.held_out:
            self.emit(held_out_loss(self.training, self.held_out, phase))
        if self.sampler is not None:
            with self.training.precision.autocast():
                samples = self.sampler.draw(step)
            self.emit(samples)


@torch.no_grad()
def held_out_loss(training: Training, batches: Sequence[Batch], phase: Phase) -> ValidationDone:
    """The unweighted loss of held-out pictures, over all and by stratum of the schedule."""
    by_stratum = [
        sum(_loss_at(training, batch, stratum, phase) for batch in batches) / len(batches) for stratum in range(_STRATA)
    ]
    names = bucket_names(training.objective.timesteps)
    return ValidationDone(training.step, sum(by_stratum) / _STRATA, dict(zip(names, by_stratum, strict=True)))


def _loss_at(training: Training, batch: Batch, stratum: int, phase: Phase) -> float:
    draws = _fixed_chance(training, batch, stratum)
    with training.precision.autocast():
        prompts = training.prompts.embeddings(batch.captions, phase)
        loss = training_step(training.family, training.objective, batch, prompts=prompts, draws=draws)
    return loss.instance.item() / training.objective.weights(draws.timesteps).mean().item()


def _fixed_chance(training: Training, batch: Batch, stratum: int) -> StepDraws:
    """Noise that depends on the picture and the stratum alone; the timestep is the stratum's middle."""
    shape = batch.latents.mean.shape
    generator = rng.generator(training.seed, "validation", batch.draws[0].example.id, stratum)
    device = training.family.device
    return StepDraws(
        posterior=torch.zeros(shape, device=device),
        noise=torch.randn(shape, generator=generator).to(device),
        offsets=torch.zeros(*shape[:2], 1, 1, device=device),
        timesteps=torch.full((shape[0],), training.objective.timestep_of((stratum + 0.5) / _STRATA), device=device),
    )
