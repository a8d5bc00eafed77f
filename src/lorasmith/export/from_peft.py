"""Owns taking adapters out of networks that peft put them in, as plain tensors; refuses what no format can say."""

# peft is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import torch
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn

from lorasmith.errors import DataError, LorasmithError
from lorasmith.export.weights import AdapterWeights, ModuleAdapter, Part, PartAdapter


def adapter_weights(parts: Mapping[Part, nn.Module], *, adapter_name: str = "default") -> AdapterWeights:
    """Copies (fp32, CPU) of the named peft adapter of each part that has one, under diffusers' module paths."""
    found: dict[Part, PartAdapter | None] = {
        part: _part_adapter(part, network, adapter_name) for part, network in parts.items()
    }
    config: Any = getattr(parts.get("denoiser"), "config", None)
    layers_per_block = getattr(config, "layers_per_block", 2)
    if not isinstance(layers_per_block, int):
        raise DataError(f"The denoiser has {layers_per_block} ResNets a level; kohya's format knows one number only.")
    adapters: dict[Part, PartAdapter] = {part: adapter for part, adapter in found.items() if adapter is not None}
    return AdapterWeights(adapters, layers_per_block=layers_per_block)


def _part_adapter(part: Part, network: nn.Module, adapter_name: str) -> PartAdapter | None:
    """One part's adapter, or None when peft put none there."""
    layers: dict[str, Any] = {
        path.removeprefix("base_model.model."): module
        for path, module in network.named_modules()
        if isinstance(module, LoraLayer) and adapter_name in module.lora_A
    }
    if not layers:
        return None
    sizes = Counter((layer.r[adapter_name], float(layer.lora_alpha[adapter_name])) for layer in layers.values())
    (rank, alpha), _ = sizes.most_common(1)[0]
    if any(abs(other / size - alpha / rank) > 1e-6 * alpha / rank for size, other in sizes):
        raise DataError(f"The adapter of {part} has several scales, {_fractions(sizes)}; it may have one.")
    for path, layer in layers.items():
        if abs(layer.scaling[adapter_name] - alpha / rank) > 1e-6 * alpha / rank:
            raise LorasmithError(f"The scale of {part}.{path} was changed and not put back; its export would be wrong.")
    modules = {path: _module_adapter(layer, adapter_name) for path, layer in layers.items()}
    return PartAdapter(
        modules, rank, alpha, "dora" if any(layer.magnitude is not None for layer in modules.values()) else "lora"
    )


def frozen_weight(network: nn.Module, path: str) -> Tensor:
    """The weight [out, in] that an adapter sits on, or that would have one, in fp32 where it is."""
    layer: Any = network.get_submodule(path)
    plain: Any = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
    return cast(Tensor, plain.weight).detach().float()


def _fractions(sizes: Mapping[tuple[int, float], int]) -> str:
    """Each alpha ÷ rank in words."""
    return ", ".join(f"{alpha:g} ÷ {rank}" for rank, alpha in sorted(sizes))


def _module_adapter(layer: Any, adapter_name: str) -> ModuleAdapter:
    """One layer's tensors."""
    magnitudes = layer.lora_magnitude_vector
    magnitude = magnitudes[adapter_name].weight if adapter_name in magnitudes else None
    return ModuleAdapter(
        down=_copied(layer.lora_A[adapter_name].weight),
        up=_copied(layer.lora_B[adapter_name].weight),
        magnitude=None if magnitude is None else _copied(magnitude),
    )


def _copied(parameter: object) -> Tensor:
    """A copy that training does not change any more."""
    return cast(Tensor, parameter).detach().to("cpu", torch.float32, copy=True)
