"""Owns the tensors of LoRA files for A1111, Forge, ComfyUI and kohya: one form of pieces, names in three spellings."""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from lorasmith.formats.module_names import kohya_name, plain_kohya_name, sgm_path, with_text_model
from lorasmith.formats.weights import AdapterWeights, Part, magnitude_tensor, up_tensor

COMFYUI_PREFIXES: dict[Part, str] = {
    "denoiser": "diffusion_model.",
    "text_encoder_1": "text_encoders.clip_l.transformer.",
    "text_encoder_2": "text_encoders.clip_g.transformer.",
}

_DOWN, _UP, _ALPHA, _DORA = "lora_down.weight", "lora_up.weight", "alpha", "dora_scale"


Layout = Literal["sgm", "diffusers"]


def kohya_tensors(weights: AdapterWeights, *, layout: Layout = "sgm") -> dict[str, Tensor]:
    """Tensors by name: `lora_down.weight` [r, in], `lora_up.weight` [out, r], `alpha` [] and, for DoRA, `dora_scale`.

    `dora_scale` is [out, 1], not [out]: readers tell a magnitude per row from one per column by its shape, and would
    spread a bare vector over the wrong axis. `alpha` stays the trained one, in float: every reader divides it by r.
    A layer of another rank than the usual one has the same alpha and the rest of its scale in `lora_up`, because
    diffusers (0.42) passes over alphas that are not the commonest in a file of this format. `layout` says whose names
    the denoiser's blocks have; older WebUIs read sgm alone.
    """
    if layout == "diffusers":
        return _spelled(weights, plain_kohya_name)
    return _spelled(weights, lambda part, path: kohya_name(part, path, layers_per_block=weights.layers_per_block))


def comfyui_tensors(weights: AdapterWeights) -> dict[str, Tensor]:
    """The same pieces under ComfyUI's own names: `diffusion_model.….lora_up.weight`, `text_encoders.clip_l.…`."""

    def name(part: Part, path: str) -> str:
        if part != "denoiser":
            return f"{COMFYUI_PREFIXES[part]}{with_text_model(path)}"
        return COMFYUI_PREFIXES[part] + sgm_path(path, layers_per_block=weights.layers_per_block)

    return _spelled(weights, name)


def _spelled(weights: AdapterWeights, name_of: Callable[[Part, str], str]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for part, adapter in weights.parts.items():
        for path, module in adapter.modules.items():
            name = name_of(part, path)
            folded = module.scaled(module.rank / adapter.rank)
            tensors |= {
                f"{name}.{_DOWN}": folded.down,
                f"{name}.{_UP}": up_tensor(folded),
                f"{name}.{_ALPHA}": torch.tensor(float(adapter.alpha)),
            }
            if module.magnitude is not None:
                tensors[f"{name}.{_DORA}"] = magnitude_tensor(module, module.magnitude)
    return tensors
