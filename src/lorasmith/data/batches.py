"""Owns what a micro-step is given: latents, captions, sizes and weights of the same draws, in the same order."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lorasmith.data.cache import LatentSource
from lorasmith.data.examples import Draw, Role
from lorasmith.data.masks import MaskSource
from lorasmith.data.order import BatchOrder
from lorasmith.data.wording import listed
from lorasmith.events import Emit, Notice, WorkDone
from lorasmith.models.family import LatentDistribution
from lorasmith.sizes import Size, SizeConditioning


@dataclass(frozen=True)
class Batch:
    """Some draws with all that is known of them; everything is in the draws' order."""

    draws: tuple[Draw, ...]
    latents: LatentDistribution
    """[B, C, h, w], fp32 on the CPU."""
    weights: Tensor
    """[B] fp32: 1 for an instance image, the prior weight for a class image."""
    masks: Tensor | None = None
    """[B, 1, h, w] fp32 in 0…1: what each place of the latents counts; None where all of them count alike."""

    @property
    def captions(self) -> tuple[str, ...]:
        """The draws' captions."""
        return tuple(draw.example.caption for draw in self.draws)

    @property
    def sizes(self) -> tuple[SizeConditioning, ...]:
        """What SDXL is told of the draws' sizes."""
        return tuple(draw.view.size_conditioning for draw in self.draws)

    @property
    def roles(self) -> tuple[Role, ...]:
        """Which draws are of instance images and which of class images."""
        return tuple(draw.example.role for draw in self.draws)


class BatchSource:
    """Batches by micro-step; the same micro-step always gives the same batch."""

    def __init__(
        self, order: BatchOrder, latents: LatentSource, *, masks: MaskSource | None = None, prior_weight: float = 1.0
    ) -> None:
        """`prior_weight` is what a class image's loss counts beside an instance image's 1; None masks nothing."""
        self.order = order
        self._latents = latents
        self._masks = masks
        self._prior_weight = prior_weight

    def batch_at(self, micro_step: int) -> Batch:
        """What the micro-step trains on."""
        return self.batch_of(self.order.draws_at(micro_step))

    def batch_of(self, draws: Sequence[Draw]) -> Batch:
        """The batch of some draws of one target (such as `fixed_draws` for validation)."""
        weights = [self._weight_of(draw.example.role) for draw in draws]
        latents = self._latents.latents_of(draws)
        masks = self._masks.weights(draws, Size(*latents.mean.shape[-2:])) if self._masks else None
        return Batch(tuple(draws), latents, torch.tensor(weights, dtype=torch.float32), masks)

    def fill_cache(self, micro_steps: range, emit: Emit, *, besides: Sequence[Draw] = ()) -> None:
        """Encode every view that these micro-steps and the draws `besides` will need, so that the VAE can go."""
        wanted = {self._latents.key_of(draw): draw for at in micro_steps for draw in self.order.draws_at(at)}
        wanted |= {self._latents.key_of(draw): draw for draw in besides}
        encoded: list[str] = []
        for done, draw in enumerate(wanted.values(), start=1):
            if not self._latents.is_kept(draw):
                encoded.append(draw.example.id)
            self._latents.one(draw)
            emit(WorkDone("caching latents", done, len(wanted)))
        if len(encoded) < len(wanted):
            emit(Notice(_told_of_kept(len(wanted), encoded)))

    def _weight_of(self, role: Role) -> float:
        return 1.0 if role is Role.INSTANCE else self._prior_weight


def _told_of_kept(wanted: int, encoded: Sequence[str]) -> str:
    """What an edited picture cost; a person sees that it was noticed, and that nothing else was encoded again."""
    if not encoded:
        return f"encoded pictures: all {wanted} were in the cache"
    return f"encoded pictures: {wanted - len(encoded)} of {wanted} were in the cache; encoded now: {listed(encoded)}"
