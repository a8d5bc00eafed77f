"""Owns a tiny but genuine SDXL base with random weights; promises real classes and files, no sensible pictures."""

# diffusers and transformers are only partly typed.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

import torch
from diffusers import AutoencoderKL, EDMDPMSolverMultistepScheduler, SchedulerMixin, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.models.family import PredictionType
from lorasmith.testing.pipeline_files import write_model_index
from lorasmith.testing.real_sdxl import sdxl_scheduler, text_config
from lorasmith.testing.tokenizer_files import END, SMALL_VOCABULARY, write_tokenizer

Noise = Literal["sdxl", "zero-terminal", "edm"]

_WIDTHS = (32, 48)
"""Widths of the two text encoders, different so that a mix-up cannot pass."""
_TIME_WIDTH = 8
"""Width of each of the six size numbers' embeddings."""
_TOKEN_SPREAD = 0.4
"""Spread of the token embeddings: SDXL reads a state that is not layer-normed, and words must outweigh places."""


@dataclass(frozen=True)
class _Shape:
    latent_channels: int
    layers_per_block: int


def tiny_pipeline(
    folder: Path,
    *,
    prediction_type: PredictionType = "epsilon",
    noise: Noise = "sdxl",
    latent_channels: int = 4,
    layers_per_block: int = 2,
    seed: int = 0,
) -> Path:
    """Write a 64 px SDXL base (f8, about 1 M parameters) in the diffusers layout; the same arguments, the same bytes.

    `noise` is what its scheduler says: SDXL's own, that with zero terminal SNR, or EDM's as in Playground v2.5.
    Its text encoders' configs say `eos_token_id: 2` as SDXL's do, so transformers pools them at the highest id.
    """
    shape = _Shape(latent_channels, layers_per_block)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        _unet(shape).save_pretrained(folder / "unet")
        _vae(shape).save_pretrained(folder / "vae")
        for name, encoder in _text_encoders().items():
            encoder.save_pretrained(folder / name)
    write_tokenizer(folder / "tokenizer", pad_token=END)
    write_tokenizer(folder / "tokenizer_2", pad_token="!")
    _scheduler(noise, prediction_type).save_pretrained(folder / "scheduler")
    write_model_index(folder)
    return folder


def _scheduler(noise: Noise, prediction_type: PredictionType) -> SchedulerMixin:
    match noise:
        case "sdxl":
            return sdxl_scheduler(prediction_type)
        case "zero-terminal":
            return sdxl_scheduler(prediction_type, rescale_betas_zero_snr=True)
        case "edm":  # what Playground v2.5 says of itself
            return EDMDPMSolverMultistepScheduler(sigma_data=0.5, prediction_type=prediction_type)
        case other:
            assert_never(other)


def _unet(shape: _Shape) -> UNet2DConditionModel:
    """SDXL's three levels, narrow and shallow: attention on the lower two and in the middle."""
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=shape.latent_channels,
        out_channels=shape.latent_channels,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(16, 32, 48),
        layers_per_block=shape.layers_per_block,
        transformer_layers_per_block=(1, 1, 1),
        attention_head_dim=(1, 2, 3),
        cross_attention_dim=sum(_WIDTHS),
        addition_embed_type="text_time",
        addition_time_embed_dim=_TIME_WIDTH,
        projection_class_embeddings_input_dim=6 * _TIME_WIDTH + _WIDTHS[1],
        use_linear_projection=True,
        norm_num_groups=8,
    )


def _vae(shape: _Shape) -> Any:
    """An f8 VAE whose latents carry the picture at about unit spread and hardly any noise, random as it is."""
    vae: Any = AutoencoderKL(
        sample_size=64,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=shape.latent_channels,
    )
    channels = shape.latent_channels
    with torch.no_grad():
        torch.nn.init.dirac_(vae.quant_conv.weight)
        vae.quant_conv.weight[channels:].zero_()
        vae.quant_conv.bias.copy_(torch.tensor([0.0] * channels + [-10.0] * channels))
        spread = vae.encode(_smooth_pictures()).latent_dist.mean.std().item()
    vae.register_to_config(scaling_factor=round(1 / spread, 5))
    return vae


def _smooth_pictures() -> Tensor:
    """Sixteen coloured gradients [16, 3, 64, 64] in −1…1, to measure the latents' spread on."""
    corners = torch.rand(16, 3, 2, 2) * 2 - 1
    return torch.nn.functional.interpolate(corners, size=(64, 64), mode="bilinear")


def _text_encoders() -> dict[str, CLIPTextModel | CLIPTextModelWithProjection]:
    """Both text encoders, the first with quick GELU and the second with projection, as in SDXL."""
    first, second = (
        text_config(width=width, layers=layers, heads=2, activation=activation, vocabulary_size=SMALL_VOCABULARY)
        for width, layers, activation in zip(_WIDTHS, (2, 3), ("quick_gelu", "gelu"), strict=True)
    )
    encoders = {"text_encoder": CLIPTextModel(first), "text_encoder_2": CLIPTextModelWithProjection(second)}
    for encoder in encoders.values():
        torch.nn.init.normal_(encoder.get_input_embeddings().weight, std=_TOKEN_SPREAD)
    return encoders
