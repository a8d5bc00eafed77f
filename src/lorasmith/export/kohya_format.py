"""Owns the tensors of `{name}.safetensors`, the LoRA file of A1111, Forge and ComfyUI; writes nothing."""

from collections.abc import Mapping

import torch
from torch import Tensor

from lorasmith.errors import DataError
from lorasmith.export.kohya_names import kohya_name, module_of
from lorasmith.export.weights import AdapterWeights, ModuleAdapter, Part

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
                f"{name}.{_UP}": folded.up,
                f"{name}.{_ALPHA}": torch.tensor(float(adapter.alpha)),
            }
            if module.magnitude is not None:
                tensors[f"{name}.{_DORA}"] = module.magnitude.reshape(-1, 1)
    return tensors


def read_kohya(tensors: Mapping[str, Tensor], *, layers_per_block: int = 2) -> dict[Part, dict[str, ModuleAdapter]]:
    """Each part's adapters with alpha ÷ r folded in, as readers see them; DataError for names that are not kohya's."""
    pieces: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        name, _, kind = key.partition(".")
        if kind not in (_DOWN, _UP, _ALPHA, _DORA):
            raise DataError(f"{key} is not a tensor of kohya's LoRA format.")
        pieces.setdefault(name, {})[kind] = tensor
    found: dict[Part, dict[str, ModuleAdapter]] = {}
    for name, tensors_of_module in pieces.items():
        part, path = module_of(name, layers_per_block=layers_per_block)
        found.setdefault(part, {})[path] = _module(name, tensors_of_module)
    return found


def _module(name: str, pieces: Mapping[str, Tensor]) -> ModuleAdapter:
    """One module's adapter out of its tensors; no alpha means alpha = rank."""
    if _DOWN not in pieces or _UP not in pieces:
        raise DataError(f"{name} has one half of an adapter only.")
    rank = len(pieces[_DOWN])
    scale = pieces[_ALPHA].item() / rank if _ALPHA in pieces else 1.0
    magnitude = pieces.get(_DORA)
    if magnitude is not None and magnitude.shape != (len(pieces[_UP]), 1):
        raise DataError(f"{name}.{_DORA} is {tuple(magnitude.shape)}, not one number for each of its rows.")
    return ModuleAdapter(pieces[_DOWN], pieces[_UP], None if magnitude is None else magnitude[:, 0]).scaled(scale)
