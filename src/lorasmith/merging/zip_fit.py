# torch's optimizers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
"""Owns training ZipLoRA's merger vectors against a base, counted and repeatable; opens no base and writes no files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from lorasmith import rng
from lorasmith.errors import DivergedError, StoppedError
from lorasmith.events import Emit, Notice, WorkDone, ignore
from lorasmith.merging.zip_layers import Voice, ZippedDenoiser
from lorasmith.models.family import Conditioning, DiffusionFamily, PromptEmbeddings, stack_prompts
from lorasmith.objectives.objective import Objective
from lorasmith.sizes import SizeConditioning

_TOLD_EVERY = 10


@dataclass(frozen=True)
class ZipSettings:
    """How mergers train.

    The reference's learning rate (5e-5, mkshing/ziplora-pytorch) moves them by 0.005 in its 100 steps, which is plain
    addition; at 1e-2 they reach what they are drawn to. `similarity_weight` is the paper's λ, 0.01 there: at a rate at
    which mergers move it makes both adapters weak (docs/merging.md has the numbers), so it is 0 unless asked for.
    """

    steps: int = 100
    learning_rate: float = 1e-2
    similarity_weight: float = 0.0
    batch_size: int = 4
    seed: int = 0


@dataclass(frozen=True)
class ParentMaterial:
    """One parent's pictures as latents [N, C, h, w] with their sizes, and each prompt in the parent's embeddings and in
    the merge's (they differ where adapters of text encoders were merged)."""

    name: str
    latents: Tensor
    sizes: Sequence[SizeConditioning]
    own_prompts: Sequence[PromptEmbeddings]
    merged_prompts: Sequence[PromptEmbeddings]


@dataclass(frozen=True)
class ZipTerms:
    """The terms of one step's loss: each parent's content loss, the similarity of mergers, and λ before it."""

    step: int
    content: tuple[float, ...]
    similarity: float
    similarity_weight: float

    @property
    def total(self) -> float:
        """What was differentiated."""
        return sum(self.content) + self.similarity_weight * self.similarity


@dataclass(frozen=True)
class _Question:
    """What every voice is asked: noisy latents, their times, the pictures' places and their sizes."""

    noisy_latents: Tensor
    times: Tensor
    places: Sequence[int]
    sizes: Sequence[SizeConditioning]


@dataclass(frozen=True)
class ZipTraining:
    """All that mergers train with."""

    family: DiffusionFamily
    objective: Objective
    zipped: ZippedDenoiser
    material: Sequence[ParentMaterial]
    settings: ZipSettings = ZipSettings()

    def fit(self, *, emit: Emit = ignore, should_stop: Callable[[], bool] = lambda: False) -> list[ZipTerms]:
        """Train the mergers; the loss's terms at each step. StoppedError when asked to stop: nothing was written.

        Loss: Σᵢ MSE(prediction of the merge, prediction of parent i) on parent i's pictures and prompts
        + λ·Σ over layers of mean |m₁·m₂| (arXiv 2311.13600, equation 4).
        """
        optimizer = torch.optim.Adam(self.zipped.mergers, lr=self.settings.learning_rate)
        history = list[ZipTerms]()
        for step in range(self.settings.steps):
            if should_stop():
                raise StoppedError(
                    f"Stopped at step {step} of {self.settings.steps} of the mergers; nothing was written",
                    remedy="The same command gives the same merge.",
                )
            optimizer.zero_grad(set_to_none=True)
            history.append(self._backward(step))
            optimizer.step()
            emit(WorkDone("training mergers", step + 1, self.settings.steps))
            if (step + 1) % _TOLD_EVERY == 0 or step == 0:
                emit(Notice(self._told(history[-1])))
        return history

    def distances(self, voice: Voice, *, batches: int = 8) -> tuple[float, ...]:
        """How far a voice is from each parent's own, as a share of how far the base is: 0 is kept, 1 is lost.

        Measured on timesteps and noise that no training step draws, the prompts as the merge reads them.
        """
        shares = list[float]()
        for place, _ in enumerate(self.material):
            pairs = [self._distance_pair(place, voice, number) for number in range(batches)]
            shares.append(sum(voiced for voiced, _ in pairs) / max(1e-12, sum(base for _, base in pairs)))
        return tuple(shares)

    def _backward(self, step: int) -> ZipTerms:
        """One step's loss and gradients, a parent at a time so that one graph is kept at once."""
        content = list[float]()
        for place, material in enumerate(self.material):
            question = self._question(material, step, stream="training")
            loss = functional.mse_loss(
                self._answer("merged", material.merged_prompts, question), self._teacher(place, question)
            )
            loss.backward()
            content.append(loss.item())
        similarity = self.zipped.similarity()
        if similarity.requires_grad and self.settings.similarity_weight:
            (self.settings.similarity_weight * similarity).backward()
        terms = ZipTerms(step + 1, tuple(content), similarity.item(), self.settings.similarity_weight)
        if not torch.isfinite(torch.tensor(terms.total)):
            raise DivergedError(
                f"the mergers' loss is not finite at step {step + 1}", remedy="Use fp32, or a lower learning rate."
            )
        return terms

    @torch.no_grad()
    def _distance_pair(self, place: int, voice: Voice, number: int) -> tuple[float, float]:
        material = self.material[place]
        question = self._question(material, number, stream="held out")
        target = self._teacher(place, question)
        voiced, base = (self._answer(one, material.merged_prompts, question) for one in (voice, "base"))
        return functional.mse_loss(voiced, target).item(), functional.mse_loss(base, target).item()

    def _teacher(self, place: int, question: _Question) -> Tensor:
        with torch.no_grad():
            return self._answer(place, self.material[place].own_prompts, question)

    def _answer(self, voice: Voice, prompts: Sequence[PromptEmbeddings], question: _Question) -> Tensor:
        """A voice's prediction [B, C, h, w]."""
        told = stack_prompts([prompts[place] for place in question.places])
        conditioning = Conditioning(told, self.family.time_ids(question.sizes))
        with self.zipped.speaking(voice):
            return self.family.predict(question.noisy_latents, question.times, conditioning).float()

    def _question(self, material: ParentMaterial, step: int, *, stream: str) -> _Question:
        """Counted, and with the same noise and timesteps for every parent, so that their order changes nothing."""
        batch = range(self.settings.batch_size)
        seed, device = self.settings.seed, self.family.device
        places = [rng.key(seed, "merge", stream, "picture", step, slot) % len(material.latents) for slot in batch]
        generators = [rng.generator(seed, "merge", stream, step, slot) for slot in batch]
        units = [torch.rand((), generator=one).item() for one in generators]
        timesteps = torch.tensor([self.objective.timestep_of(unit) for unit in units], device=device)
        latents = material.latents[places].to(device)
        noise = torch.stack([torch.randn(latents.shape[1:], generator=one) for one in generators]).to(device)
        return _Question(
            self.objective.corrupt(latents, noise, timesteps),
            self.objective.times(timesteps),
            places,
            [material.sizes[place] for place in places],
        )

    def _told(self, terms: ZipTerms) -> str:
        parts = " + ".join(
            f"{loss:.2e} ({material.name})" for loss, material in zip(terms.content, self.material, strict=True)
        )
        return (
            f"mergers, step {terms.step}: content {parts}, similarity {terms.similarity:.3g} "
            f"× {terms.similarity_weight:g}"
        )
