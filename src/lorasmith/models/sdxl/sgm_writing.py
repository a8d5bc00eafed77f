# diffusers' networks are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns a base's weights under sgm's names, as community checkpoints have them; writes and reads no files."""

import re
from typing import Any

import torch
from torch import Tensor, nn

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_OUTSIDE_BLOCKS = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}
_OPEN_CLIP = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}


def sgm_tensors(pipeline: Any) -> dict[str, Tensor]:
    """A pipeline's weights under sgm's names: open_clip's fused and turned projections, `position_ids`, and all."""
    return {
        **unet_tensors(pipeline.unet),
        **{f"first_stage_model.{name}": tensor for name, tensor in vae_tensors(pipeline.vae).items()},
        **_first_text_tensors(pipeline.text_encoder),
        **_second_text_tensors(pipeline.text_encoder_2),
    }


def unet_tensors(unet: nn.Module) -> dict[str, Tensor]:
    """A UNet's weights: sgm counts layers of all levels through, diffusers within each."""
    layers = int(unet.config["layers_per_block"])  # pyright: ignore[reportIndexIssue,reportArgumentType]
    return {f"model.diffusion_model.{_unet_name(name, layers)}": tensor for name, tensor in unet.state_dict().items()}


def vae_tensors(vae: nn.Module) -> dict[str, Tensor]:
    """A VAE's weights: attention as 1×1 convolutions, the decoder's levels counted from the picture's side."""
    levels = len(vae.config["block_out_channels"])  # pyright: ignore[reportIndexIssue,reportArgumentType]
    found = {_vae_name(name, levels): tensor for name, tensor in vae.state_dict().items()}
    return {
        name: tensor[:, :, None, None] if ".attn_1." in name and tensor.ndim == 2 else tensor
        for name, tensor in found.items()
    }


def _unet_name(name: str, layers: int) -> str:
    for ours, theirs in _OUTSIDE_BLOCKS.items():
        if name.startswith(f"{ours}."):
            return name.replace(ours, theirs, 1)
    place = re.match(r"(down_blocks|mid_block|up_blocks)\.(?:(\d+)\.)?(\w+)\.(\d+)\.(.*)", name)
    if place is None:
        raise ValueError(f"sgm has no name for {name}")
    side, level, kind, index, rest = place.groups()
    number, is_resnet = int(index), kind == "resnets"
    if is_resnet:
        layer, _, leaf = rest.partition(".")
        rest = f"{_RESNET[layer]}.{leaf}"
    if side == "mid_block":
        return f"middle_block.{2 * number if is_resnet else 1}.{rest}"
    if side == "down_blocks":
        first = 1 + int(level) * (layers + 1)
        if kind == "downsamplers":
            return f"input_blocks.{first + layers}.0.op.{rest.removeprefix('conv.')}"
        return f"input_blocks.{first + number}.{0 if is_resnet else 1}.{rest}"
    first = int(level) * (layers + 1)
    if kind == "upsamplers":
        # The last level that has an upsampler stands behind attention where the level has any, as in SDXL.
        return f"output_blocks.{first + layers}.2.{rest}"
    return f"output_blocks.{first + number}.{0 if is_resnet else 1}.{rest}"


def _vae_name(name: str, levels: int) -> str:
    if name.startswith(("quant_conv", "post_quant_conv")):
        return name
    side, _, rest = name.partition(".")
    rest = rest.replace("conv_norm_out", "norm_out").replace("conv_shortcut", "nin_shortcut")
    rest = re.sub(r"^down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.block.\2", rest)
    rest = re.sub(r"^down_blocks\.(\d+)\.downsamplers\.0", r"down.\1.downsample", rest)
    rest = re.sub(r"^up_blocks\.(\d+)\.resnets\.(\d+)", lambda m: f"up.{levels - 1 - int(m[1])}.block.{m[2]}", rest)
    rest = re.sub(r"^up_blocks\.(\d+)\.upsamplers\.0", lambda m: f"up.{levels - 1 - int(m[1])}.upsample", rest)
    rest = re.sub(r"^mid_block\.resnets\.(\d+)", lambda m: f"mid.block_{int(m[1]) + 1}", rest)
    attention = re.match(r"mid_block\.attentions\.0\.(.+)\.(weight|bias)$", rest)
    if attention:
        rest = f"mid.attn_1.{_VAE_ATTENTION[attention[1]]}.{attention[2]}"
    return f"{side}.{rest}"


def _first_text_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    prefix = "conditioner.embedders.0.transformer.text_model."
    tensors = {f"{prefix}{name}": tensor for name, tensor in _bare(encoder).items()}
    length = tensors[f"{prefix}embeddings.position_embedding.weight"].shape[0]
    return {**tensors, f"{prefix}embeddings.position_ids": torch.arange(length)[None]}


def _second_text_tensors(encoder: nn.Module) -> dict[str, Tensor]:
    """open_clip's names: queries, keys and values in one matrix, the projection turned, and CLIP's unused scale."""
    bare = _bare(encoder)
    outside = {
        "positional_embedding": bare.pop("embeddings.position_embedding.weight"),
        "token_embedding.weight": bare.pop("embeddings.token_embedding.weight"),
        "ln_final.weight": bare.pop("final_layer_norm.weight"),
        "ln_final.bias": bare.pop("final_layer_norm.bias"),
        "text_projection": bare.pop("text_projection.weight").T,
        "logit_scale": torch.tensor(4.6052),
    }
    tensors: dict[str, Tensor] = {}
    for name, tensor in bare.items():
        layer, rest = name.removeprefix("encoder.layers.").split(".", 1)
        home = f"transformer.resblocks.{layer}."
        if rest.startswith("self_attn.q_proj"):
            kind = rest.rpartition(".")[2]
            fused = [bare[name.replace("q_proj", f"{letter}_proj")] for letter in "qkv"]
            tensors[f"{home}attn.in_proj_{kind}"] = torch.cat(fused)
        elif not rest.startswith(("self_attn.k_proj", "self_attn.v_proj")):
            stem, _, kind = rest.rpartition(".")
            tensors[f"{home}{_OPEN_CLIP[stem]}.{kind}"] = tensor
    return {f"conditioner.embedders.1.model.{name}": tensor for name, tensor in {**outside, **tensors}.items()}


def _bare(encoder: nn.Module) -> dict[str, Tensor]:
    """Weights without the wrapping `text_model`, which transformers took away from one of the two classes."""
    return {
        name.removeprefix("text_model."): tensor
        for name, tensor in encoder.state_dict().items()
        if not name.endswith("position_ids")
    }
