# peft and diffusers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportArgumentType=false
"""Owns an export with random weights in diffusers' own format, for tests of what reads one; promises no sense in it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from peft import LoraConfig, get_peft_model_state_dict
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.export_manifest import ConceptFile, ExportManifest, write_manifest

LORA_FILE = "pytorch_lora_weights.safetensors"


def random_export(
    folder: Path, base: Path, *, abstractions: Mapping[str, Sequence[str]], seed: int = 0, spread: float = 0.3
) -> Path:
    """Write an adapter, embeddings and a manifest that fit `base`, random enough to change what is drawn."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator("cpu").manual_seed(seed)
    _write_adapter(folder, base, generator, spread)
    widths = {"clip_l": _width(CLIPTextModel, base / "text_encoder"),
              "clip_g": _width(CLIPTextModelWithProjection, base / "text_encoder_2")}  # fmt: skip
    concepts: dict[str, ConceptFile] = {}
    for word, tokens in abstractions.items():
        rows = {name: torch.randn(len(tokens), width, generator=generator) for name, width in widths.items()}
        save_file(rows, folder / f"{word}_emb.safetensors")
        concepts[word] = ConceptFile(tokens=tuple(tokens), file=f"{word}_emb.safetensors")
    write_manifest(folder, ExportManifest(base=base.name, lora=LORA_FILE, abstractions=concepts))
    return folder


def _write_adapter(folder: Path, base: Path, generator: torch.Generator, spread: float) -> None:
    unet: Any = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    unet.add_adapter(LoraConfig(r=4, lora_alpha=4, target_modules=["to_k", "to_q", "to_v", "to_out.0"]))
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * spread)
    StableDiffusionXLPipeline.save_lora_weights(
        folder, unet_lora_layers=get_peft_model_state_dict(unet), weight_name=LORA_FILE
    )


def _width(kind: type[CLIPTextModel] | type[CLIPTextModelWithProjection], folder: Path) -> int:
    encoder: Any = kind.from_pretrained(folder)
    return int(encoder.config.hidden_size)
