"""Owns a random base of about 120 M parameters in SDXL's proportions, for measuring speed and nothing else."""

# diffusers and transformers are only partly typed.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportArgumentType=false
# pyright: reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.testing.pipeline_files import write_model_index
from lorasmith.testing.random_weights import build
from lorasmith.testing.real_sdxl import (
    VOCABULARY_SIZE,
    sdxl_scheduler,
    text_config,
    unet_config,
    vae_config,
)
from lorasmith.testing.tokenizer_files import END, write_tokenizer

_FIRST_WIDTH, _SECOND_WIDTH = 128, 192


def medium_pipeline(folder: Path) -> Path:
    """Write a 256 px, f8, fp32 base (denoiser about three quarters) with SDXL's depths at a fifth of its widths."""
    for name, network in _networks().items():
        network.save_pretrained(folder / name)
    write_tokenizer(folder / "tokenizer", vocabulary_size=VOCABULARY_SIZE, pad_token=END)
    write_tokenizer(folder / "tokenizer_2", vocabulary_size=VOCABULARY_SIZE, pad_token="!")
    sdxl_scheduler().save_pretrained(folder / "scheduler")
    write_model_index(folder)
    return folder


def _networks() -> dict[str, Any]:
    """The four networks by their folders' names."""
    unet = unet_config() | {
        "sample_size": 32,
        "block_out_channels": (64, 128, 256),
        "attention_head_dim": (1, 2, 4),
        "cross_attention_dim": _FIRST_WIDTH + _SECOND_WIDTH,
        "addition_time_embed_dim": 64,
        "projection_class_embeddings_input_dim": 6 * 64 + _SECOND_WIDTH,
    }
    vae = vae_config() | {"sample_size": 256, "block_out_channels": (32, 32, 64, 64)}
    first = text_config(
        width=_FIRST_WIDTH, layers=12, heads=2, activation="quick_gelu", vocabulary_size=VOCABULARY_SIZE
    )
    second = text_config(width=_SECOND_WIDTH, layers=32, heads=3, activation="gelu", vocabulary_size=VOCABULARY_SIZE)
    return {
        "unet": build(lambda: UNet2DConditionModel(**unet), torch.float32, "cpu"),
        "vae": build(lambda: AutoencoderKL(**vae), torch.float32, "cpu"),
        "text_encoder": build(lambda: CLIPTextModel(first), torch.float32, "cpu"),
        "text_encoder_2": build(lambda: CLIPTextModelWithProjection(second), torch.float32, "cpu"),
    }
