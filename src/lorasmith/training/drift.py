"""Owns drift: how far training has moved what the denoiser says to prompts without the concept; trains nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final

import torch
from torch import Tensor

from lorasmith.adapters.attach import adapters_off
from lorasmith.data.batches import Batch
from lorasmith.models.family import Conditioning, PromptEmbeddings, stack_prompts
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.loop import Training
from lorasmith.training.phases import Phase
from lorasmith.training.validation import fixed_chance

MOST_PICTURES: Final = 4
_STRATA: Final = 4


@dataclass(frozen=True)
class _BaseSays:
    """What the base predicts for some noisy latents, its adapters off, and its own loss there."""

    prediction: Tensor
    loss: float


@dataclass
class DriftGauge:
    """Compares the adapter's predictions with the base's own, for the captions without their token and for no words.

    At noise and timesteps that are the same each time, on noisy latents of the run's own pictures, one picture a batch:
    prior preservation by the adapter-off teacher shows that these suffice, and they cost no drawing.
    """

    training: Training
    batches: Sequence[Batch]
    vocabulary: TokenVocabulary
    _base: dict[tuple[int, int], _BaseSays] = field(default_factory=dict[tuple[int, int], _BaseSays], init=False)
    _base_prompts: dict[str, PromptEmbeddings] = field(default_factory=dict[str, PromptEmbeddings], init=False)

    @torch.no_grad()
    def measure(self, phase: Phase) -> float:
        """The mean square of what moved, as a share of the base's own loss: 0 untrained, 1 as wrong as the base is."""
        moved, own = 0.0, 0.0
        for place, batch in enumerate(self.batches):
            for stratum in range(_STRATA):
                said = self._base_at(place, stratum)
                moved += (self._predict(batch, stratum, self._prompts(batch, phase)) - said.prediction).square().mean()
                own += said.loss
        return float(moved) / own if own else 0.0

    def _base_at(self, place: int, stratum: int) -> _BaseSays:
        """Asked once: the base does not change."""
        if (place, stratum) not in self._base:
            batch = self.batches[place]
            with adapters_off(self.training.family.parts["denoiser"]):
                prediction = self._predict(batch, stratum, self._prompts_of_the_base(batch))
            self._base[place, stratum] = _BaseSays(prediction, self._loss(batch, stratum, prediction))
        return self._base[place, stratum]

    def _predict(self, batch: Batch, stratum: int, prompts: PromptEmbeddings) -> Tensor:
        """Predictions [prompts, C, h, w] for one picture's noisy latents under each prompt."""
        training, count = self.training, len(prompts.pooled)
        noisy, _, times = self._noisy(batch, stratum)
        conditioning = Conditioning(prompts, training.family.time_ids(batch.sizes * count))
        with training.precision.autocast():
            said = training.family.predict(noisy.expand(count, -1, -1, -1), times.expand(count), conditioning)
        return said.float()

    def _loss(self, batch: Batch, stratum: int, prediction: Tensor) -> float:
        _, target, _ = self._noisy(batch, stratum)
        return float((prediction - target.float()).square().mean())

    def _noisy(self, batch: Batch, stratum: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy latents and target [1, C, h, w], and the times [1] the denoiser is told of."""
        objective = self.training.objective
        draws = fixed_chance(self.training, batch, (stratum + 0.5) / _STRATA)
        latents = batch.latents.to(self.training.family.device).sample(draws.posterior)
        noise = objective.noise(draws.noise, draws.offsets)
        noisy = objective.corrupt(latents, noise, draws.timesteps)
        return noisy, objective.target(latents, noise, draws.timesteps), objective.times(draws.timesteps)

    def _prompts(self, batch: Batch, phase: Phase) -> PromptEmbeddings:
        with self.training.precision.autocast():
            return self.training.prompts.embeddings(self._words(batch), phase)

    def _prompts_of_the_base(self, batch: Batch) -> PromptEmbeddings:
        family = self.training.family
        with ExitStack() as stack:
            for name in ("text_encoder_1", "text_encoder_2"):
                stack.enter_context(adapters_off(family.parts[name]))
            for words in self._words(batch):
                if words not in self._base_prompts:
                    with self.training.precision.autocast():
                        self._base_prompts[words] = family.encode_prompts([words])
        return stack_prompts([self._base_prompts[words] for words in self._words(batch)])

    def _words(self, batch: Batch) -> list[str]:
        """The picture's caption without its token, and no words at all."""
        bare = " ".join(self.vocabulary.in_other_words(batch.captions[0], "").split())
        return [bare, ""]
