"""Owns the tensors of `{name}.safetensors`, the LoRA file of A1111, Forge and ComfyUI; writes nothing."""

import torch
from torch import Tensor

from lorasmith.formats.module_names import kohya_name
from lorasmith.formats.weights import AdapterWeights, magnitude_tensor, up_tensor

_DOWN, _UP, _ALPHA, _DORA = "lora_down.weight", "lora_up.weight", "alpha", "dora_scale"


def kohya_tensors(weights: AdapterWeights) -> dict[str, Tensor]:
    """Tensors by name: `lora_down.weight` [r, in], `lora_up.weight` [out, r], `alpha` [] and, for DoRA, `dora_scale`.

    `dora_scale` is [out, 1], not [out]: readers tell a magnitude per row from one per column by its shape, and would
    spread a bare vector over the wrong axis. `alpha` stays the trained one, in float: every reader divides it by r.
    A layer of another rank than the usual one has the same alpha and the rest of its scale in `lora_up`, because
    diffusers (0.42) passes over alphas that are not the commonest in a file of this format.
    """
    tensors: dict[str, Tensor] = {}
    for part, adapter in weights.parts.items():
        for path, module in adapter.modules.items():
            name = kohya_name(part, path, layers_per_block=weights.layers_per_block)
            folded = module.scaled(module.rank / adapter.rank)
            tensors |= {
                f"{name}.{_DOWN}": folded.down,
                f"{name}.{_UP}": up_tensor(folded),
                f"{name}.{_ALPHA}": torch.tensor(float(adapter.alpha)),
            }
            if module.magnitude is not None:
                tensors[f"{name}.{_DORA}"] = magnitude_tensor(module, module.magnitude)
    return tensors
