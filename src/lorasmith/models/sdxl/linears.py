# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' networks are only partly typed.
"""Owns which linear layers a base's parts have, by name and size, from its configuration alone; loads no weights."""

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from diffusers import UNet2DConditionModel
from torch import nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.models.sdxl.cost import read_config

PartWithLinears = Literal["denoiser", "text_encoder_1", "text_encoder_2"]

_SDXL_DENOISER: Mapping[str, object] = {
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "transformer_layers_per_block": (1, 2, 10),
}


class LinearSize(NamedTuple):
    """How many numbers go into a linear layer and come out of it."""

    inputs: int
    outputs: int


@cache
def linears(folder: Path, part: PartWithLinears) -> Mapping[str, LinearSize]:
    """A part's linear layers under diffusers' module paths, in the part's own order."""
    with torch.device("meta"):
        built = _built(folder, part)
    return {
        path: LinearSize(module.in_features, module.out_features)
        for path, module in built.named_modules()
        if isinstance(module, nn.Linear)
    }


def is_laid_out_as_sdxl(folder: Path) -> bool:
    """Whether the denoiser's blocks are SDXL's own, so that what was found out about them holds."""
    config = read_config(folder, "unet")
    found = {name: tuple(value) if isinstance(value := config.get(name), list) else value for name in _SDXL_DENOISER}
    return found == _SDXL_DENOISER


def _built(folder: Path, part: PartWithLinears) -> nn.Module:
    match part:
        case "denoiser":
            return UNet2DConditionModel.from_config(read_config(folder, "unet"))  # pyright: ignore[reportReturnType]
        case "text_encoder_1":
            return CLIPTextModel(CLIPTextConfig(**read_config(folder, "text_encoder")))
        case "text_encoder_2":
            return CLIPTextModelWithProjection(CLIPTextConfig(**read_config(folder, "text_encoder_2")))
