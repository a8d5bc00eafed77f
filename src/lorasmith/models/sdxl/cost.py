# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' configs are only partly typed.
"""Owns what a training step on an SDXL base costs, read off its configs; loads no weights."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.models.sdxl import description
from lorasmith.models.sdxl.components import describe
from lorasmith.models.sdxl.description import PartFolder
from lorasmith.sizes import Size

_TEXT_FOLDERS: tuple[PartFolder, PartFolder] = ("text_encoder", "text_encoder_2")


@dataclass(frozen=True)
class StepCost:
    """One example's share of a step: parameters, floating-point operations and kept activations (bytes)."""

    denoiser_parameters: int
    text_encoder_parameters: int
    vae_parameters: int
    token_widths: tuple[int, int]
    flops: float
    activation_elements: int


def native_size(folder: Path) -> Size:
    """The square the base was made for, in pixels."""
    side = int(read_config(folder, "unet")["sample_size"]) * latent_scale(folder)
    return Size(side, side)


def latent_scale(folder: Path) -> int:
    """Pixels along one side of a latent."""
    return description.latent_scale(read_config(folder, "vae"))


def scheduler_config(folder: Path) -> dict[str, Any]:
    """The base's scheduler configuration."""
    return dict(describe(folder).scheduler)


def text_layers(folder: Path) -> tuple[int, int]:
    """How many layers each text encoder has."""
    first, second = (int(read_config(folder, name)["num_hidden_layers"]) for name in _TEXT_FOLDERS)
    return first, second


def read_config(folder: Path, part: PartFolder) -> dict[str, Any]:
    """A part's config: its `config.json`, or for a single file what its shapes mean."""
    return dict(describe(folder).configs[part])


@cache
def step_cost(folder: Path, size: Size) -> StepCost:
    """The cost of one example at `size` pixels; what the adapters add is small beside it.

    The denoiser is built on the meta device and run once on shapes: three forward passes' worth of products make a
    forward and a backward pass towards inputs and adapters (products with frozen weights are needed twice, not thrice).
    """
    first, second = (read_config(folder, name) for name in _TEXT_FOLDERS)
    with torch.device("meta"):
        unet = cast(UNet2DConditionModel, UNet2DConditionModel.from_config(read_config(folder, "unet")))
        vae = cast(AutoencoderKL, AutoencoderKL.from_config(read_config(folder, "vae")))
        encoders = CLIPTextModel(CLIPTextConfig(**first)), CLIPTextModelWithProjection(CLIPTextConfig(**second))
    flops, activations = _run_on_shapes(unet, size, latent_scale(folder))
    return StepCost(
        denoiser_parameters=_parameters(unet),
        text_encoder_parameters=sum(_parameters(encoder) for encoder in encoders),
        vae_parameters=_parameters(vae),
        token_widths=(int(first["hidden_size"]), int(second["hidden_size"])),
        flops=2.1 * flops,  # 14.3 TFLOP against a forward pass of 6.8 for SDXL at 1024 px with rank 32
        activation_elements=activations,
    )


def _run_on_shapes(unet: UNet2DConditionModel, size: Size, scale: int) -> tuple[int, int]:
    """Operations of one forward pass, and the elements that all leaf modules put out."""
    elements = 0

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal elements
        del module, inputs
        elements += output.numel() if isinstance(output, Tensor) else 0

    for module in unet.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet(**_inputs_on_shapes(unet, size, scale))
    return counter.get_total_flops(), elements


def _inputs_on_shapes(unet: UNet2DConditionModel, size: Size, scale: int) -> dict[str, Any]:
    config = unet.config
    pooled = int(config["projection_class_embeddings_input_dim"]) - 6 * int(config["addition_time_embed_dim"])
    meta = torch.device("meta")
    return {
        "sample": torch.zeros(1, config["in_channels"], size.height // scale, size.width // scale, device=meta),
        "timestep": torch.zeros(1, dtype=torch.long, device=meta),
        "encoder_hidden_states": torch.zeros(1, 77, config["cross_attention_dim"], device=meta),
        "added_cond_kwargs": {
            "text_embeds": torch.zeros(1, pooled, device=meta),
            "time_ids": torch.zeros(1, 6, device=meta),
        },
    }


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
