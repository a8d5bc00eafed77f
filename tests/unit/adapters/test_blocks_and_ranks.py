"""Which layers get an adapter and of which rank: blocks by whole names, on real SDXL's layers and on a tiny base."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import replace
from functools import cache
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from lorasmith.adapters.attach import attach_adapter
from lorasmith.adapters.shape import AdapterShape, adapted_ranks, denoiser_targets, is_inside, rank_patterns
from lorasmith.config.adapter import CONTENT_BLOCK, STYLE_BLOCK, AdapterConfig
from lorasmith.errors import ConfigError
from lorasmith.testing import real_sdxl_unet


@cache
def sdxl() -> Any:
    return real_sdxl_unet()


@cache
def sdxl_linears() -> tuple[str, ...]:
    return tuple(path for path, module in sdxl().named_modules() if isinstance(module, torch.nn.Linear))


@pytest.fixture
def unet(tiny_base: Any) -> Any:
    return UNet2DConditionModel.from_pretrained(tiny_base, subfolder="unet")


def shape(**changed: Any) -> AdapterShape:
    return replace(AdapterShape("lora", 4, 4.0, 0.0, denoiser_targets("attention")), **changed)


@pytest.mark.parametrize(
    ("blocks", "layers"),
    [
        ((), 560),
        (("mid_block",), 80),
        (("up_blocks.0",), 240),
        (("up_blocks.1.attentions.2",), 16),
        ((CONTENT_BLOCK, STYLE_BLOCK), 160),
        (("down_blocks", "up_blocks.0.attentions.0.transformer_blocks.9"), 200),
    ],
)
def test_a_block_of_sdxl_is_the_layers_below_its_name(blocks: tuple[str, ...], layers: int) -> None:
    ranks = adapted_ranks(sdxl_linears(), shape(blocks=blocks))
    assert len(ranks) == layers
    assert all(not blocks or any(path.startswith(f"{block}.") for block in blocks) for path in ranks)


def test_a_name_ends_at_a_dot() -> None:
    assert is_inside("up_blocks.1.x", "up_blocks.1")
    assert not is_inside("up_blocks.10.x", "up_blocks.1")
    assert not is_inside("x.up_blocks.1", "up_blocks.1")


def scripts_layers(blocks: str) -> int:
    """How many linears the script adapts: the first component cut off every name, then substrings looked for."""
    wanted = [".".join(block.strip().split(".")[1:]) for block in blocks.split(",")]
    return sum(4 * any(block in name for block in wanted) for name in sdxl().attn_processors)


@pytest.mark.parametrize(("said", "theirs", "ours"), [("mid_block", 560, 80), ("up_blocks.1", 416, 48)])
def test_a_first_component_that_is_not_the_unet_is_kept(said: str, theirs: int, ours: int) -> None:
    """The script trains every block, or most, where one was asked for; with `unet.` in front both do as told."""
    assert scripts_layers(said) == theirs
    for spelled in (said, f"unet.{said}", f"denoiser.{said}"):
        blocks = AdapterConfig(blocks=(spelled,)).blocks
        assert len(adapted_ranks(sdxl_linears(), shape(blocks=blocks))) == ours
    assert scripts_layers(f"unet.{said}") == ours


@pytest.mark.parametrize(
    ("changed", "where", "told"),
    [
        ({"blocks": ("up_blocks.0", "up_block.1")}, "adapter.blocks", "'up_block.1'.*Did you mean up_blocks.1"),
        ({"blocks": ("down_blocks.0",)}, "adapter.blocks", "There are down_blocks.1.attentions.0"),
        ({"blocks": ("attentions.0",)}, "adapter.blocks", "mid_block.attentions.0"),
        ({"block_ranks": {"middle": 4}}, "adapter.block_ranks", "'middle'"),
        ({"blocks": ("up_blocks.0",), "block_ranks": {"mid_block": 4}}, "adapter.block_ranks", "There are up_blocks.0"),
    ],
)
def test_a_block_that_is_not_there_is_refused_with_those_that_are(
    changed: dict[str, Any], where: str, told: str
) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        adapted_ranks(sdxl_linears(), shape(**changed))
    assert caught.value.problems[0].where == where


def test_the_longest_name_that_fits_gives_the_rank() -> None:
    given = {"up_blocks": 8, "up_blocks.0.attentions.1": 64, "mid_block": 2}
    ranks = adapted_ranks(sdxl_linears(), shape(block_ranks=given))
    for path, rank in ranks.items():
        wanted = 64 if path.startswith("up_blocks.0.attentions.1.") else 8 if path.startswith("up_") else None
        assert rank == (wanted or (2 if path.startswith("mid_") else 4)), path


def test_hundreds_of_ranks_become_a_handful_of_patterns() -> None:
    given = {"up_blocks": 8, "up_blocks.0.attentions.1": 64, "mid_block": 2}
    patterns = rank_patterns(adapted_ranks(sdxl_linears(), shape(block_ranks=given)), usual=4)
    assert len(patterns) == 5
    assert patterns[r"^mid_block\..+"] == 2
    assert patterns[r"^up_blocks\.0\.attentions\.1\..+"] == 64


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_attached_layers_have_their_blocks_rank_the_same_scale_and_their_own_start(unet: Any, kind: str) -> None:
    given = {"mid_block": 32, "up_blocks.0": 8, "up_blocks.0.attentions.1": 16}
    wanted = shape(kind=kind, alpha=2.0, block_ranks=given, blocks=("mid_block", "up_blocks"))
    attach_adapter(unet, wanted, seed=0, name="denoiser")
    layers: dict[str, Any] = {path: layer for path, layer in unet.named_modules() if hasattr(layer, "lora_A")}
    assert {layer.r["default"] for layer in layers.values()} == {4, 8, 16, 32}
    for path, layer in layers.items():
        assert path.startswith(("mid_block.", "up_blocks."))
        rank = layer.r["default"]
        assert layer.scaling["default"] == pytest.approx(0.5)
        assert layer.lora_A["default"].weight.shape[0] == rank == layer.lora_B["default"].weight.shape[1]
    for rank in (8, 16, 32):
        downs = [layer.lora_A["default"].weight.flatten() for layer in layers.values() if layer.r["default"] == rank]
        assert torch.cat(downs).std().item() == pytest.approx(1 / rank, rel=0.05)
