"""Owns what a prediction is compared with: the objective's target, or for a twin what the base itself says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from lorasmith.adapters.attach import adapters_off
from lorasmith.data.batches import Batch
from lorasmith.data.examples import Role
from lorasmith.models.family import Conditioning, DiffusionFamily, PromptEmbeddings, stack_prompts


@dataclass(frozen=True)
class DenoiserInput:
    """All that the denoiser is given in a pass: noisy latents [B, C, h, w], their times [B], and the conditioning."""

    noisy_latents: Tensor
    times: Tensor
    conditioning: Conditioning


class Teacher(Protocol):
    """Says what the prediction should be."""

    def target(self, batch: Batch, given: DenoiserInput, wanted: Tensor) -> Tensor:
        """The target [B, C, h, w]; `wanted` is the objective's."""
        ...


class PicturesTeach:
    """Instance and class images are what is learnt: the objective's target as it is."""

    def target(self, batch: Batch, given: DenoiserInput, wanted: Tensor) -> Tensor:
        """The objective's target."""
        del batch, given
        return wanted


@dataclass(frozen=True)
class BaseTeaches:
    """Class examples are to be predicted as the base predicts them, its adapters off; instance images as ever.

    Prior preservation without class images: the base's idea of the class is kept where the adapter is being trained,
    on the same pictures under a class caption. `prompts` are the class captions' embeddings as the base alone reads
    them, so that an adapter on a text encoder is held to them as well.
    """

    family: DiffusionFamily
    prompts: Mapping[str, PromptEmbeddings]

    @torch.no_grad()
    def target(self, batch: Batch, given: DenoiserInput, wanted: Tensor) -> Tensor:
        """The objective's target, with the base's own prediction in the class examples' places."""
        places = [place for place, role in enumerate(batch.roles) if role is Role.CLASS]
        if not places:
            return wanted
        captions = [batch.captions[place] for place in places]
        prompts = stack_prompts([self.prompts[caption] for caption in captions])
        conditioning = Conditioning(prompts, given.conditioning.time_ids[places])
        with adapters_off(self.family.parts["denoiser"]):
            said = self.family.predict(given.noisy_latents[places], given.times[places], conditioning)
        return wanted.index_copy(0, torch.tensor(places, device=wanted.device), said.to(wanted.dtype))
