"""Adapters: where they sit, how they start, and that they can be switched off."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import replace
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from lorasmith.adapters.attach import attach_adapter, set_dropout_active, up_weights
from lorasmith.adapters.shape import AdapterShape, denoiser_targets
from lorasmith.errors import DataError
from lorasmith.testing import real_sdxl_unet


@pytest.fixture
def unet(tiny_base: Any) -> Any:
    return UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")


def shape(**changed: Any) -> AdapterShape:
    return replace(AdapterShape("lora", 4, 4.0, 0.0, denoiser_targets("attention")), **changed)


def test_sdxls_attention_gets_the_560_adapters_of_the_reference() -> None:
    parameters = attach_adapter(real_sdxl_unet(), shape(rank=8), seed=0, name="denoiser")
    assert len(parameters) == 2 * 560
    assert sum(parameter.numel() for parameter in parameters.values()) == 1_451_520 * 8


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_weights_are_fp32_on_a_base_of_any_dtype(unet: Any, dtype: torch.dtype, kind: str) -> None:
    parameters = attach_adapter(unet.to(dtype), shape(kind=kind), seed=0, name="denoiser")
    assert {parameter.dtype for parameter in parameters.values()} == {torch.float32}
    assert any("magnitude" in name for name in parameters) == (kind == "dora")


def test_down_weights_start_at_one_over_rank_and_up_weights_at_zero(unet: Any) -> None:
    parameters = attach_adapter(unet, shape(rank=8), seed=0, name="denoiser")
    downs = torch.cat([p.flatten() for name, p in parameters.items() if ".lora_A." in name])
    assert downs.std().item() == pytest.approx(1 / 8, rel=0.05)
    assert not any(up.any() for up in up_weights(parameters))


def test_the_start_depends_on_seed_and_part_and_disturbs_nobodys_randomness(tiny_base: Any) -> None:
    def start(seed: int, name: str) -> torch.Tensor:
        network = UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")
        before = torch.get_rng_state()
        parameters = attach_adapter(network, shape(), seed=seed, name=name)
        assert torch.equal(torch.get_rng_state(), before)
        return torch.cat([p.flatten() for p in parameters.values()])

    assert torch.equal(start(0, "denoiser"), start(0, "denoiser"))
    assert not torch.equal(start(0, "denoiser"), start(1, "denoiser"))
    assert not torch.equal(start(0, "denoiser"), start(0, "other"))


def test_targets_that_are_not_there_are_refused(unet: Any) -> None:
    with pytest.raises((DataError, ValueError), match="nowhere"):
        attach_adapter(unet, shape(targets=("nowhere",)), seed=0, name="denoiser")


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_dropout_drops_while_it_is_active_and_only_then(unet: Any, kind: str) -> None:
    parameters = attach_adapter(unet, shape(kind=kind, dropout=0.5), seed=0, name="denoiser")
    for up in up_weights(parameters):
        torch.nn.init.normal_(up, std=0.1)
    query = unet.mid_block.attentions[0].transformer_blocks[0].attn1.to_q
    x = torch.randn(2, 5, query.in_features)
    unet.eval()
    assert torch.equal(query(x), query(x))
    set_dropout_active(unet, active=True)
    assert not torch.equal(query(x), query(x))
    set_dropout_active(unet, active=False)
    assert torch.equal(query(x), query(x))
