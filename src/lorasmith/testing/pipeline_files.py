"""Owns the index file that makes a folder of networks a StableDiffusionXLPipeline, and opening such a folder."""

# diffusers is only partly typed.
# pyright: reportPrivateImportUsage=false, reportUnknownMemberType=false

import json
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import StableDiffusionXLPipeline


def open_pipeline(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """The folder's StableDiffusionXLPipeline, silent; untyped, as its parts are."""
    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(folder, torch_dtype=dtype)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def write_model_index(folder: Path) -> None:
    """Write `model_index.json` as diffusers does for SDXL base 1.0."""
    index = {
        "_class_name": "StableDiffusionXLPipeline",
        "_diffusers_version": diffusers.__version__,
        "force_zeros_for_empty_prompt": True,
        "scheduler": ["diffusers", "EulerDiscreteScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "CLIPTextModelWithProjection"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "tokenizer_2": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")
