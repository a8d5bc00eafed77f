# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' converters are untyped.
"""Owns one part of a base out of sgm's names (single files) into diffusers', by diffusers' own converters."""

from collections.abc import Mapping
from typing import Any, assert_never

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.models.safetensors_header import Header
from lorasmith.models.sdxl.description import Config, PartFolder

PREFIXES: Mapping[PartFolder, str] = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
_DTYPES = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32, "F64": torch.float64}


def names_of(part: PartFolder, header: Header) -> list[str]:
    """The names of a part's tensors in a single file."""
    return list(header.below(PREFIXES[part])) or (list(header.below("vae.")) if part == "vae" else [])


def empty_module(part: PartFolder, config: Config) -> nn.Module:
    """The part as its config says, on the meta device: shapes and no memory."""
    with torch.device("meta"):
        match part:
            case "unet":
                return UNet2DConditionModel.from_config(dict(config))  # pyright: ignore[reportReturnType]
            case "vae":
                return AutoencoderKL.from_config(dict(config))  # pyright: ignore[reportReturnType]
            case "text_encoder":
                return CLIPTextModel(CLIPTextConfig(**config))
            case "text_encoder_2":
                return CLIPTextModelWithProjection(CLIPTextConfig(**config))
    assert_never(part)


def converted(part: PartFolder, tensors: dict[str, Tensor], *, module: nn.Module, config: Config) -> dict[str, Tensor]:
    """A part's tensors under diffusers' names; fused projections are split, the transposed one is turned."""
    match part:
        case "unet":
            found: dict[str, Any] = convert_ldm_unet_checkpoint(tensors, dict(config))
        case "vae":
            found = tensors if "encoder.down_blocks.0.resnets.0.conv1.weight" in tensors else _vae(tensors, config)
        case "text_encoder":
            found = _as_wrapped(module, convert_ldm_clip_checkpoint(tensors))
        case "text_encoder_2":
            prefix = PREFIXES[part]
            found = _as_wrapped(module, convert_open_clip_checkpoint(module, tensors, prefix=prefix))
        case _:
            assert_never(part)
    return {name: tensor for name, tensor in found.items() if not name.endswith("position_ids")}


def misfits(found: Mapping[str, Tensor], module: nn.Module) -> list[str]:
    """What is missing, unknown or of another shape than the module's, in words."""
    wanted = module.state_dict()
    missing = [f"{name} is missing" for name in wanted if name not in found]
    unknown = [f"{name} is unknown" for name in found if name not in wanted]
    changed = [
        f"{name} is {_shown(found[name])} where {_shown(tensor)} is wanted"
        for name, tensor in wanted.items()
        if name in found and found[name].shape != tensor.shape
    ]
    return [*changed, *missing, *unknown]


def shapes_only(header: Header, names: list[str]) -> dict[str, Tensor]:
    """A header's tensors on the meta device."""
    return {
        name: torch.empty(
            header.tensors[name].shape, dtype=_DTYPES.get(header.tensors[name].dtype, torch.float32), device="meta"
        )
        for name in names
    }


def _vae(tensors: dict[str, Tensor], config: Config) -> dict[str, Any]:
    return convert_ldm_vae_checkpoint(tensors, dict(config))


def _as_wrapped(module: nn.Module, tensors: dict[str, Any]) -> dict[str, Any]:
    """transformers 5.6 took the wrapping `text_model` away from one of the two classes."""
    if hasattr(module, "text_model"):
        return tensors
    return {name.removeprefix("text_model."): tensor for name, tensor in tensors.items()}


def _shown(tensor: Tensor) -> str:
    return "×".join(map(str, tensor.shape)) or "a number"
