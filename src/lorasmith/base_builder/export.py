"""Owns the writing of the finished base in the diffusers layout, fp16; refuses to train."""
# pyright: basic, reportPrivateImportUsage=false, reportArgumentType=false

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file

from .autoencoder import build_autoencoder, load_autoencoder_state
from .fitting import build_networks
from .networks import build_scheduler
from .patch_basis import PatchBasis
from .recipe import Recipe, Workshop
from .states import load_state
from .vocabulary import load_tokenizer, save_tokenizer

logger = logging.getLogger(__name__)

_CLASSIC_PREFIX = "text_model."  # transformers 5 saves without it and reads both; transformers 4 reads only with it


def assemble_pipeline(recipe: Recipe, workshop: Workshop) -> StableDiffusionXLPipeline:
    """The pipeline of the latest stored weights (the moving averages), in fp32."""
    networks = build_networks(recipe, workshop)
    parts, step = load_state(workshop.denoiser)
    networks.load_state_dict(parts["average"], strict=False)
    logger.info("weights of step %d (%d samples)", step, step * recipe.batch)
    length = recipe.prompt_tokens
    return StableDiffusionXLPipeline(
        vae=trained_autoencoder(recipe, workshop),
        text_encoder=networks.text_encoder_1.eval(),
        text_encoder_2=networks.text_encoder_2.eval(),
        tokenizer=load_tokenizer(workshop.tokenizer, pad_token="<|endoftext|>", length=length),
        tokenizer_2=load_tokenizer(workshop.tokenizer, pad_token="!", length=length),
        unet=networks.denoiser.eval(),
        scheduler=build_scheduler(),
        add_watermarker=False,
    )


def trained_autoencoder(recipe: Recipe, workshop: Workshop) -> AutoencoderKL:
    """The autoencoder as its training left it."""
    autoencoder = build_autoencoder(recipe, PatchBasis.load(workshop.encoder))
    autoencoder.load_state_dict(load_autoencoder_state(workshop))
    return autoencoder.eval()


def export_pipeline(recipe: Recipe, workshop: Workshop, folder: Path) -> int:
    """Write the base below `folder`; its size in bytes."""
    pipeline = assemble_pipeline(recipe, workshop).to(torch.float16)
    pipeline.save_pretrained(str(folder))
    save_tokenizer(pipeline.tokenizer, workshop.tokenizer, folder / "tokenizer")
    save_tokenizer(pipeline.tokenizer_2, workshop.tokenizer, folder / "tokenizer_2")
    for name in ("text_encoder", "text_encoder_2"):
        _name_classically(folder / name / "model.safetensors")
    for config in folder.rglob("*.json"):
        _forget_origin(config)
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _name_classically(path: Path) -> None:
    """Give the text encoder's tensors the names that SDXL's own files have."""
    tensors = load_file(path)
    bare = ("text_projection.", _CLASSIC_PREFIX)
    named = {key if key.startswith(bare) else f"{_CLASSIC_PREFIX}{key}": tensor for key, tensor in tensors.items()}
    save_file(named, path, metadata={"format": "pt"})


def _forget_origin(path: Path) -> None:
    """Drop the folder a part was built in from its config."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
