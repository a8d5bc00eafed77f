"""Owns SDXL base 1.0's exact configuration with random weights, for shapes, key lists and memory; trains nothing."""

# diffusers and transformers are only partly typed.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from diffusers import AutoencoderKL, EulerDiscreteScheduler, StableDiffusionXLPipeline, UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lorasmith.models.family import PredictionType
from lorasmith.testing.pipeline_files import write_model_index
from lorasmith.testing.random_weights import Device, build
from lorasmith.testing.tokenizer_files import END, write_tokenizer

UNET_PARAMETERS = 2_567_463_684
VOCABULARY_SIZE = 49_408


class TextEncoders(NamedTuple):
    """SDXL's two text encoders: CLIP-L and OpenCLIP bigG."""

    first: CLIPTextModel
    second: CLIPTextModelWithProjection


def real_sdxl_unet(dtype: torch.dtype = torch.bfloat16, *, device: Device = "meta") -> UNet2DConditionModel:
    """SDXL's denoiser (2,567,463,684 parameters); on `meta` it takes no memory."""
    return build(lambda: UNet2DConditionModel(**unet_config()), dtype, device)


def real_sdxl_text_encoders(dtype: torch.dtype = torch.bfloat16, *, device: Device = "meta") -> TextEncoders:
    """CLIP-L (768 × 12) and bigG (1280 × 32, with projection)."""
    return TextEncoders(
        build(lambda: CLIPTextModel(first_text_config()), dtype, device),
        build(lambda: CLIPTextModelWithProjection(second_text_config()), dtype, device),
    )


def real_sdxl_vae(dtype: torch.dtype = torch.bfloat16, *, device: Device = "meta") -> AutoencoderKL:
    """SDXL's VAE: f8, four latent channels."""
    return build(lambda: AutoencoderKL(**vae_config()), dtype, device)


def real_sdxl_pipeline(folder: Path, dtype: torch.dtype = torch.bfloat16) -> StableDiffusionXLPipeline:
    """A whole pipeline in memory, about 7 GB in bf16; its tokenizers' files are written to `folder`."""
    encoders = real_sdxl_text_encoders(dtype, device="cpu")
    tokenizers = _write_tokenizers(folder)
    return StableDiffusionXLPipeline(
        vae=real_sdxl_vae(dtype, device="cpu"),
        text_encoder=encoders.first,
        text_encoder_2=encoders.second,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizers[0]),
        tokenizer_2=CLIPTokenizer.from_pretrained(tokenizers[1]),
        unet=real_sdxl_unet(dtype, device="cpu"),
        scheduler=sdxl_scheduler(),
        add_watermarker=False,
    )


def write_real_sdxl(folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write the whole pipeline in the diffusers layout, one network in memory at a time (5.2 GB at most in bf16)."""
    _write_tokenizers(folder)
    makers: dict[str, Callable[[], nn.Module]] = {
        "unet": lambda: UNet2DConditionModel(**unet_config()),
        "text_encoder": lambda: CLIPTextModel(first_text_config()),
        "text_encoder_2": lambda: CLIPTextModelWithProjection(second_text_config()),
        "vae": lambda: AutoencoderKL(**vae_config()),
    }
    for name, make in makers.items():
        network: Any = build(make, dtype, "cpu")
        network.save_pretrained(folder / name)
        del network
        gc.collect()
    sdxl_scheduler().save_pretrained(folder / "scheduler")
    write_model_index(folder)
    return folder


def sdxl_scheduler(
    prediction_type: PredictionType = "epsilon", *, rescale_betas_zero_snr: bool = False
) -> EulerDiscreteScheduler:
    """The scheduler that SDXL's own files name."""
    return EulerDiscreteScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        steps_offset=1,
        timestep_spacing="leading",
        prediction_type=prediction_type,
        rescale_betas_zero_snr=rescale_betas_zero_snr,
    )


def unet_config() -> dict[str, Any]:
    """The denoiser's configuration in SDXL base 1.0."""
    return {
        "sample_size": 128,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        "block_out_channels": (320, 640, 1280),
        "layers_per_block": 2,
        "transformer_layers_per_block": (1, 2, 10),
        "attention_head_dim": (5, 10, 20),
        "cross_attention_dim": 2048,
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 256,
        "projection_class_embeddings_input_dim": 2816,
        "use_linear_projection": True,
    }


def vae_config() -> dict[str, Any]:
    """The VAE's configuration in SDXL base 1.0."""
    return {
        "sample_size": 1024,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
        "scaling_factor": 0.13025,
        "force_upcast": True,
    }


def first_text_config() -> CLIPTextConfig:
    """CLIP-L's configuration as SDXL's files say it, with the wrong end-of-text id they say (transformers #24773)."""
    return text_config(width=768, layers=12, heads=12, activation="quick_gelu", vocabulary_size=VOCABULARY_SIZE)


def second_text_config() -> CLIPTextConfig:
    """OpenCLIP bigG's configuration as SDXL's files say it."""
    return text_config(width=1280, layers=32, heads=20, activation="gelu", vocabulary_size=VOCABULARY_SIZE)


def text_config(*, width: int, layers: int, heads: int, activation: str, vocabulary_size: int) -> CLIPTextConfig:
    """A text encoder of SDXL's kind: four times wider feed-forward, projection of its own width, end of text 2."""
    return CLIPTextConfig(
        vocab_size=vocabulary_size,
        hidden_size=width,
        intermediate_size=4 * width,
        projection_dim=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        max_position_embeddings=77,
        hidden_act=activation,
        pad_token_id=1,
        bos_token_id=0,
        eos_token_id=2,
    )


def _write_tokenizers(folder: Path) -> tuple[Path, Path]:
    """Both tokenizers' files at SDXL's size."""
    return (
        write_tokenizer(folder / "tokenizer", vocabulary_size=VOCABULARY_SIZE, pad_token=END),
        write_tokenizer(folder / "tokenizer_2", vocabulary_size=VOCABULARY_SIZE, pad_token="!"),
    )
