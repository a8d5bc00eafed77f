"""What a pipeline's adapted layers change, as diffusers loaded them, for comparing with what was trained."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import torch
from peft.tuners.lora import Linear as LoraLinear
from torch import Tensor

from lorasmith.export import AdapterWeights
from lorasmith.testing import open_pipeline


def loaded_changes(base: Path, file: Path) -> dict[str, Tensor]:
    """What diffusers adds to each layer's weight after it loaded a file, by part and module."""
    pipeline = open_pipeline(base)
    pipeline.load_lora_weights(str(file.parent), weight_name=file.name)
    return changes_in(pipeline)


def changes_in(pipeline: Any) -> dict[str, Tensor]:
    """What each adapted layer of a pipeline adds to its weight; a DoRA's magnitude too."""
    parts = {"denoiser": pipeline.unet, "text_encoder_1": pipeline.text_encoder}
    parts["text_encoder_2"] = pipeline.text_encoder_2
    return {
        f"{part}.{name.removeprefix('text_model.')}": _change(module)
        for part, network in parts.items()
        for name, module in network.named_modules()
        if isinstance(module, LoraLinear)
    }


def wanted_changes(weights: AdapterWeights) -> dict[str, Tensor]:
    """The same of plain LoRA weights in memory."""
    return {
        f"{part}.{name.removeprefix('text_model.')}": module.change() * adapter.scale
        for part, adapter in weights.parts.items()
        for name, module in adapter.modules.items()
    }


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """The same layers with the same change, none of which is nothing."""
    assert found.keys() == wanted.keys()
    assert found
    for name, change in wanted.items():
        assert change.abs().max() > 0.01
        torch.testing.assert_close(found[name], change, rtol=1e-4, atol=1e-5)


def relative(found: Tensor, wanted: Tensor) -> float:
    """The Frobenius norm of a difference as a share of what is wanted."""
    return ((found - wanted).norm() / wanted.norm()).item()


def _change(layer: Any) -> Tensor:
    """By what the layer computes, so that nobody's formula has to be believed: its outputs for unit inputs."""
    bias = layer.base_layer.bias
    with torch.no_grad():
        merged = layer(torch.eye(layer.in_features)).T - (0 if bias is None else bias[:, None])
        return merged - layer.base_layer.weight
