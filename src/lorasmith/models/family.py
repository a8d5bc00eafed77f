"""Owns what the trainer asks of a family of bases; knows no concrete one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from lorasmith.sizes import SizeConditioning

PredictionType = Literal["epsilon", "v_prediction"]


@dataclass(frozen=True)
class LatentDistribution:
    """What the VAE knows of some pictures: scaled `mean` and `std`, each [B, C, h, w], fp32."""

    mean: Tensor
    std: Tensor

    def to(self, device: torch.device) -> "LatentDistribution":
        """The same values on a device."""
        return LatentDistribution(self.mean.to(device), self.std.to(device))

    def sample(self, unit_noise: Tensor) -> Tensor:
        """Latents [B, C, h, w] for one draw of unit noise of the same shape."""
        return self.mean + self.std * unit_noise


@dataclass(frozen=True)
class PromptEmbeddings:
    """What the text encoders say of some prompts: `hidden` [B, tokens, width] and `pooled` [B, width].

    `lengths` says how many of the tokens are each prompt's own, where a longer one stands beside it; None means all.
    """

    hidden: Tensor
    pooled: Tensor
    lengths: tuple[int, ...] | None = None

    @property
    def attention_mask(self) -> Tensor | None:
        """True [B, tokens] where a prompt has tokens of its own; None when all have the same number."""
        if self.lengths is None:
            return None
        places = torch.arange(self.hidden.shape[1], device=self.hidden.device)
        return places < torch.tensor(self.lengths, device=self.hidden.device).unsqueeze(-1)

    def to(self, device: torch.device) -> "PromptEmbeddings":
        """The same values on a device."""
        return replace(self, hidden=self.hidden.to(device), pooled=self.pooled.to(device))

    def detached(self) -> "PromptEmbeddings":
        """The same values without their history."""
        return replace(self, hidden=self.hidden.detach(), pooled=self.pooled.detach())

    def split(self) -> list["PromptEmbeddings"]:
        """Each prompt's embeddings [1, its own tokens, width]."""
        lengths = self.lengths or (self.hidden.shape[1],) * len(self.hidden)
        return [
            PromptEmbeddings(self.hidden[row : row + 1, :length], self.pooled[row : row + 1])
            for row, length in enumerate(lengths)
        ]


def stack_prompts(parts: Sequence[PromptEmbeddings]) -> PromptEmbeddings:
    """Several prompts' embeddings, one prompt each, as one batch in the order given.

    A shorter prompt is filled up with zeros that the denoiser does not look at, so that what it is told of a prompt
    never depends on the prompts beside it (an empty chunk, which A1111 and kohya fill up with, would be read).
    """
    lengths = tuple(part.hidden.shape[1] for part in parts)
    longest = max(lengths)
    hidden = torch.cat([functional.pad(part.hidden, (0, 0, 0, longest - part.hidden.shape[1])) for part in parts])
    pooled = torch.cat([part.pooled for part in parts])
    return PromptEmbeddings(hidden, pooled, lengths if len(set(lengths)) > 1 else None)


@dataclass(frozen=True)
class Conditioning:
    """All that the denoiser is told besides the noisy latents: prompts, and `time_ids` [B, 6] in exact fp32."""

    prompts: PromptEmbeddings
    time_ids: Tensor


@dataclass(frozen=True)
class NoiseSchedule:
    """How much signal is left at each training timestep: `alphas_cumprod` [T] in fp32, and what is predicted."""

    alphas_cumprod: Tensor
    prediction_type: PredictionType


@dataclass(frozen=True)
class EdmSchedule:
    """The noise of bases trained as in EDM (arXiv 2206.00364), such as Playground v2.5.

    `sigmas` [T] in fp32, the least noise first; `sigma_data` is the spread the latents were scaled to.
    """

    sigmas: Tensor
    sigma_data: float
    prediction_type: PredictionType


@dataclass(frozen=True)
class TokenizedEncoder:
    """A text encoder by name, with the tokenizer whose ids it reads."""

    name: Literal["text_encoder_1", "text_encoder_2"]
    encoder: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase


class DiffusionFamily(Protocol):
    """A base as the trainer sees it: text encoders and latents in, a prediction out."""

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        ...

    @property
    def noise_schedule(self) -> NoiseSchedule | EdmSchedule:
        """The base's own noise schedule and prediction type."""
        ...

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The networks by name: `denoiser`, `text_encoder_1`, `text_encoder_2` (the adapters' homes)."""
        ...

    @property
    def text_encoders(self) -> Sequence[TokenizedEncoder]:
        """The text encoders with their tokenizers, where new tokens are attached."""
        ...

    def encode_pictures(self, pictures: Tensor) -> LatentDistribution:
        """Pictures [B, 3, H, W] in −1…1 to the distribution of their scaled latents."""
        ...

    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """Prompts (new tokens already written out) to embeddings; gradients reach whatever trains."""
        ...

    def time_ids(self, sizes: Sequence[SizeConditioning]) -> Tensor:
        """Size conditioning as exact fp32 [B, 6]."""
        ...

    def predict(self, noisy_latents: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """The denoiser's prediction [B, C, h, w] at the times [B] it is told of (timesteps, or EDM's logarithms)."""
        ...

    def release_text_encoders(self) -> None:
        """Move the text encoders off the device; their embeddings have been kept."""
        ...

    def release_vae(self) -> None:
        """Move the VAE off the device; its latents have been kept."""
        ...

    def fingerprint(self, part: Literal["vae", "text_encoders", "denoiser"]) -> str:
        """A hash of a part's weights and configuration, for cache keys and resume checks."""
        ...
