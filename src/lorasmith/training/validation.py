"""Owns the validation loss: held-out pictures under noise and timesteps that are the same each time it is measured."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from lorasmith import rng
from lorasmith.data.batches import Batch
from lorasmith.events import CandidateMeasured, Emit, SamplesReady, ValidationDone
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


class Gauge(Protocol):
    """Measures drift."""

    def measure(self, phase: Phase) -> float:
        """How far prompts without the concept have moved."""
        ...


@dataclass(frozen=True)
class RunValidation:
    """Held-out loss and pictures, in that order; each is left out when there is nothing to do it with."""

    training: Training
    held_out: Sequence[Batch]
    """One batch of one picture each."""
    sampler: Sampler | None
    emit: Emit
    gauge: Gauge | None = None
    """Measures the run's candidates, where it chooses among its checkpoints."""
    candidates: frozenset[int] = frozenset()
    drawn_at: frozenset[int] | None = None
    """The steps that pictures are drawn after; None: whenever it validates."""

    def validate(self, step: int, phase: Phase) -> None:
        """Measure and draw after `step` finished updates."""
        done = held_out_loss(self.training, self.held_out, phase) if self.held_out else None
        if step in self.candidates:
            self._tell_candidate(step, phase, done)
        if done is not None:
            self.emit(done)
        if self.sampler is not None and (self.drawn_at is None or step in self.drawn_at):
            with self.training.precision.autocast():
                samples = self.sampler.draw(step)
            self.emit(samples)

    def measure_candidate(self, step: int, phase: Phase) -> CandidateMeasured:
        """Measure what a checkpoint is chosen by, and say so; step 0 is what the run starts from."""
        done = held_out_loss(self.training, self.held_out, phase) if self.held_out else None
        return self._tell_candidate(step, phase, done)

    def _tell_candidate(self, step: int, phase: Phase, done: ValidationDone | None) -> CandidateMeasured:
        drift = None if self.gauge is None else self.gauge.measure(phase)
        measured = CandidateMeasured(step, None if done is None else done.loss, drift)
        self.emit(measured)
        return measured


@torch.no_grad()
def held_out_loss(training: Training, batches: Sequence[Batch], phase: Phase) -> ValidationDone:
    """The unweighted loss of held-out pictures, over all and by stratum of the schedule."""
    by_stratum = [
        sum(_loss_at(training, batch, stratum, phase) for batch in batches) / len(batches) for stratum in range(_STRATA)
    ]
    names = bucket_names(training.objective.timesteps)
    return ValidationDone(training.step, sum(by_stratum) / _STRATA, dict(zip(names, by_stratum, strict=True)))


def _loss_at(training: Training, batch: Batch, stratum: int, phase: Phase) -> float:
    draws = fixed_chance(training, batch, (stratum + 0.5) / _STRATA)
    with training.precision.autocast():
        prompts = training.prompts.embeddings(batch.captions, phase)
        loss = training_step(training.family, training.objective, batch, prompts=prompts, draws=draws)
    return loss.instance.item() / training.objective.weights(draws.timesteps).mean().item()


def fixed_chance(training: Training, batch: Batch, share: float) -> StepDraws:
    """The noise and timestep of a batch at a share of the schedule; they depend on picture and share alone."""
    shape = batch.latents.mean.shape
    generator = rng.generator(training.seed, "validation", batch.draws[0].example.id, _stratum(share))
    device = training.family.device
    return StepDraws(
        posterior=torch.zeros(shape, device=device),
        noise=torch.randn(shape, generator=generator).to(device),
        offsets=torch.zeros(*shape[:2], 1, 1, device=device),
        timesteps=torch.full((shape[0],), training.objective.timestep_of(share), device=device),
    )


def _stratum(share: float) -> int:
    return int(share * _STRATA)
