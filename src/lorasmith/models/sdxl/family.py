# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' configs and modules are only partly typed.
"""Owns SDXL as the trainer sees it; the only object that knows of a UNet, a VAE and two CLIP encoders."""

import hashlib
from collections.abc import Sequence
from typing import Literal, Protocol, cast

import torch
from torch import Tensor, nn

from lorasmith.config.text import TextConfig
from lorasmith.models.family import (
    Conditioning,
    LatentDistribution,
    PredictionType,
    PromptEmbeddings,
    TokenizedEncoder,
)
from lorasmith.models.sdxl import text
from lorasmith.models.sdxl.components import SdxlComponents
from lorasmith.models.sdxl.noise import noise_schedule
from lorasmith.sizes import Size, SizeConditioning

_SAMPLED = 4096
"""How many entries of a large tensor a fingerprint reads."""


class _Digest(Protocol):
    def update(self, data: bytes, /) -> None: ...


class Sdxl:
    """An SDXL base on a device, frozen, pooling at the true end of text. See `DiffusionFamily`."""

    def __init__(
        self,
        components: SdxlComponents,
        *,
        device: torch.device,
        prediction: PredictionType | None = None,
        reading: TextConfig | None = None,
    ) -> None:
        self.components = components
        self.reading = reading or TextConfig()
        self.device = device
        self.noise_schedule = noise_schedule(components.scheduler_config, prediction)
        for module in self._modules():
            module.requires_grad_(requires_grad=False).eval().to(device)
        for encoder, tokenizer in (
            (components.text_encoder_1, components.tokenizer_1),
            (components.text_encoder_2, components.tokenizer_2),
        ):
            text.pool_at_end_of_text(encoder, cast(int, tokenizer.eos_token_id))
        text.check_clip_skip(self.reading.clip_skip, self.text_reader.layers)

    @property
    def parts(self) -> dict[str, nn.Module]:
        """The adapters' homes by name."""
        return {
            "denoiser": self.components.unet,
            "text_encoder_1": self.components.text_encoder_1,
            "text_encoder_2": self.components.text_encoder_2,
        }

    @property
    def text_encoders(self) -> tuple[TokenizedEncoder, TokenizedEncoder]:
        """Both text encoders with their tokenizers."""
        return (
            TokenizedEncoder("text_encoder_1", self.components.text_encoder_1, self.components.tokenizer_1),
            TokenizedEncoder("text_encoder_2", self.components.text_encoder_2, self.components.tokenizer_2),
        )

    @property
    def text_reader(self) -> text.TextReader:
        """How this base reads prompts, here and in a pipeline that draws with it."""
        parts = self.components
        return text.TextReader(
            (parts.text_encoder_1, parts.text_encoder_2), (parts.tokenizer_1, parts.tokenizer_2), self.reading
        )

    @property
    def native_size(self) -> Size:
        """The square the base was made for, in pixels."""
        side = int(self.components.unet.config["sample_size"]) * self.latent_scale
        return Size(side, side)

    @property
    def latent_scale(self) -> int:
        """Pixels along one side of a latent."""
        return 2 ** (len(self.components.vae.config["block_out_channels"]) - 1)

    def encode_pictures(self, pictures: Tensor) -> LatentDistribution:
        """Pictures [B, 3, H, W] in −1…1 to scaled latents, in fp32 under no autocast."""
        vae = self.components.vae
        device_type = self.device.type
        with torch.no_grad(), torch.autocast(device_type, enabled=False):
            distribution = vae.encode(pictures.to(self.device, torch.float32)).latent_dist  # pyright: ignore[reportAttributeAccessIssue]
        shift, scale = self._latent_statistics()
        return LatentDistribution((distribution.mean.float() - shift) * scale, distribution.std.float() * scale)

    def encode_prompts(self, prompts: Sequence[str]) -> PromptEmbeddings:
        """Prompts to embeddings on the base's device; gradients reach new tokens and adapters that train."""
        return self.text_reader.read(prompts).to(self.device)

    def time_ids(self, sizes: Sequence[SizeConditioning]) -> Tensor:
        """Size conditioning [B, 6], exact in fp32 (bf16 would round 3023 to 3024)."""
        return torch.tensor([size.time_ids() for size in sizes], dtype=torch.float32, device=self.device)

    def predict(self, noisy_latents: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """The UNet's prediction for noisy latents [B, C, h, w] at the times [B] it is told of."""
        dtype = _weights_dtype(self.components.unet)
        output = self.components.unet(
            noisy_latents.to(dtype),
            times,
            encoder_hidden_states=conditioning.prompts.hidden.to(dtype),
            encoder_attention_mask=conditioning.prompts.attention_mask,
            added_cond_kwargs={"text_embeds": conditioning.prompts.pooled.to(dtype), "time_ids": conditioning.time_ids},
            return_dict=False,
        )
        return output[0]

    def release_text_encoders(self) -> None:
        """Move both text encoders to the CPU; `encode_prompts` still works there, slowly."""
        for named in self.text_encoders:
            _off_the_device(named.encoder)

    def release_vae(self) -> None:
        """Move the VAE to the CPU."""
        _off_the_device(self.components.vae)

    def fingerprint(self, part: Literal["vae", "text_encoders", "denoiser"]) -> str:
        """A hash over a part's weights (large tensors: an even sample of their entries) and the scale of its latents.

        Two VAEs of the same weights may scale their latents differently: SDXL's and Playground v2.5's do.
        """
        modules = {
            "vae": [self.components.vae],
            "text_encoders": [self.components.text_encoder_1, self.components.text_encoder_2],
            "denoiser": [self.components.unet],
        }[part]
        digest = hashlib.sha256()
        for module in modules:
            _hash_module(module, digest)
        if part == "vae":
            digest.update(repr([statistic.tolist() for statistic in self._latent_statistics()]).encode())
        return digest.hexdigest()

    def _modules(self) -> list[nn.Module]:
        return [*self.parts.values(), self.components.vae]

    def _latent_statistics(self) -> tuple[Tensor, Tensor]:
        """Shift and scale, broadcastable to latents; per channel where the VAE's config gives statistics."""
        config = self.components.vae.config
        mean, std = config.get("latents_mean"), config.get("latents_std")
        factor = float(config["scaling_factor"])
        if mean is None or std is None:
            return torch.tensor(0.0, device=self.device), torch.tensor(factor, device=self.device)
        per_channel = (1, -1, 1, 1)
        shift = torch.tensor(mean, device=self.device).view(per_channel)
        return shift, factor / torch.tensor(std, device=self.device).view(per_channel)


def _weights_dtype(module: nn.Module) -> torch.dtype:
    """The first weight's; diffusers' own property walks through every layer for it, at every step."""
    return next(module.parameters()).dtype


def _off_the_device(module: nn.Module) -> None:
    module.to("cpu")


def _hash_module(module: nn.Module, digest: _Digest) -> None:
    for name, tensor in sorted(module.state_dict().items()):
        if "lora_" in name or name.endswith("token_embedding.rows"):
            continue
        flat = tensor.detach().flatten()
        sample = flat[:: max(1, flat.numel() // _SAMPLED)].float().cpu().contiguous()
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(sample.numpy().tobytes())
