"""What is taken out of peft is what peft computes with."""

# peft is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any, Literal

import pytest
import torch
from torch import nn

from lorasmith.adapters.attach import attach_adapter, up_weights
from lorasmith.adapters.shape import AdapterShape
from lorasmith.errors import DataError, LorasmithError
from lorasmith.export import adapter_weights


class _Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(6, 8, bias=False)
        self.other = nn.Linear(6, 8)


class _Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = _Attention()


def _adapted(kind: Literal["lora", "dora"]) -> _Part:
    part = _Part()
    parameters = attach_adapter(part, AdapterShape(kind, 2, 5.0, 0.0, ("to_q",)), seed=0, name="denoiser")
    for parameter in up_weights(parameters):
        nn.init.normal_(parameter)
    return part


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_weights_taken_out_give_what_the_adapted_layer_computes(kind: Literal["lora", "dora"]) -> None:
    part = _adapted(kind)
    weights = adapter_weights({"denoiser": part})
    adapter = weights.parts["denoiser"]
    assert (adapter.rank, adapter.alpha, adapter.kind) == (2, 5.0, kind)
    assert list(adapter.modules) == ["attention.to_q"]
    module = adapter.modules["attention.to_q"]
    layer: Any = part.attention.to_q
    merged = layer.base_layer.weight + module.change() * adapter.alpha / adapter.rank
    if module.magnitude is not None:
        merged = merged * (module.magnitude / merged.norm(dim=1))[:, None]
    assert (module.magnitude is not None) == (kind == "dora")
    inputs = torch.randn(3, 6)
    torch.testing.assert_close(layer(inputs), inputs @ merged.T)


def test_what_was_taken_out_does_not_change_when_training_goes_on() -> None:
    part = _adapted("lora")
    module = adapter_weights({"denoiser": part}).parts["denoiser"].modules["attention.to_q"]
    before = module.up.clone()
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.add_(1)
    assert torch.equal(module.up, before)
    assert module.up.dtype == torch.float32


def test_parts_without_an_adapter_are_left_out() -> None:
    weights = adapter_weights({"denoiser": _adapted("lora"), "text_encoder_1": _Part()})
    assert list(weights.parts) == ["denoiser"]


def test_a_scale_that_was_left_changed_is_refused_by_name() -> None:
    part = _adapted("lora")
    layer: Any = part.attention.to_q
    layer.scale_layer(0.8)
    with pytest.raises(LorasmithError, match=r"denoiser\.attention\.to_q"):
        adapter_weights({"denoiser": part})


def test_scales_that_differ_inside_a_part_are_refused() -> None:
    part = _adapted("lora")
    attach_adapter(part.attention, AdapterShape("lora", 3, 3.0, 0.0, ("other",)), seed=0, name="x")
    with pytest.raises(DataError, match=r"several scales, 5 ÷ 2, 3 ÷ 3"):
        adapter_weights({"denoiser": part})


def test_ranks_may_differ_inside_a_part_when_alpha_follows() -> None:
    part = _adapted("lora")
    attach_adapter(part.attention, AdapterShape("lora", 4, 10.0, 0.0, ("other",)), seed=0, name="x")
    adapter = adapter_weights({"denoiser": part}).parts["denoiser"]
    assert {path: (module.rank, adapter.alpha_of(module)) for path, module in adapter.modules.items()} == {
        "attention.to_q": (2, 5.0),
        "attention.other": (4, 10.0),
    }
