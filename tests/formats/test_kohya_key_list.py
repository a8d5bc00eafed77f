"""Exports of real SDXL's shapes carry exactly the keys that real SDXL LoRAs carry."""

from itertools import product
from typing import Any

import pytest
import torch

from lorasmith.adapters.shape import denoiser_targets, text_encoder_targets
from lorasmith.errors import DataError
from lorasmith.export import AdapterWeights, ModuleAdapter, Part, PartAdapter
from lorasmith.formats.diffusers_format import diffusers_tensors
from lorasmith.formats.kohya_format import kohya_tensors
from lorasmith.formats.module_names import kohya_name, module_of
from lorasmith.testing import real_sdxl_text_encoders, real_sdxl_unet

RANK = 4
# Stability's layout of SDXL: (block, number of transformer blocks in it).
SGM_BLOCKS = (
    *((f"input_blocks_{number}_1", 2) for number in (4, 5)),
    *((f"input_blocks_{number}_1", 10) for number in (7, 8)),
    ("middle_block_1", 10),
    *((f"output_blocks_{number}_1", 10) for number in (0, 1, 2)),
    *((f"output_blocks_{number}_1", 2) for number in (3, 4, 5)),
)
ATTENTION = tuple(
    f"{attention}_{leaf}" for attention in ("attn1", "attn2") for leaf in ("to_q", "to_k", "to_v", "to_out_0")
)
FEED_FORWARD = ("ff_net_0_proj", "ff_net_2")


def _adapter(network: Any, targets: tuple[str, ...]) -> PartAdapter:
    """An adapter of zeros on every linear layer whose name ends so."""
    layers: dict[str, Any] = {
        path: layer
        for path, layer in network.named_modules()
        if isinstance(layer, torch.nn.Linear) and path.endswith(tuple(f".{target}" for target in targets))
    }
    modules = {
        path: ModuleAdapter(torch.zeros(RANK, layer.in_features), torch.zeros(layer.out_features, RANK))
        for path, layer in layers.items()
    }
    return PartAdapter(modules, RANK, 2.0)


def _expected_denoiser(leaves: tuple[str, ...]) -> set[str]:
    return {
        f"lora_unet_{block}_transformer_blocks_{index}_{leaf}"
        for block, depth in SGM_BLOCKS
        for index, leaf in product(range(depth), leaves)
    }


def _modules(keys: list[str]) -> set[str]:
    return {key.partition(".")[0] for key in keys}


def test_the_denoisers_attention_has_exactly_the_560_known_modules_of_three_tensors() -> None:
    weights = AdapterWeights({"denoiser": _adapter(real_sdxl_unet(), denoiser_targets("attention"))})
    tensors = kohya_tensors(weights)
    expected = _expected_denoiser(ATTENTION)
    assert len(expected) == 560
    assert tensors.keys() == {
        f"{name}.{kind}" for name in expected for kind in ("lora_down.weight", "lora_up.weight", "alpha")
    }
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    assert tensors[f"{name}.lora_down.weight"].shape == (RANK, 640)
    assert tensors[f"{name}.lora_up.weight"].shape == (640, RANK)
    assert tensors[f"{name}.alpha"].shape == ()
    assert tensors[f"{name}.alpha"].dtype == torch.float32
    assert tensors[f"{name}.alpha"].item() == 2.0
    assert tensors["lora_unet_output_blocks_2_1_transformer_blocks_9_attn2_to_k.lora_down.weight"].shape == (RANK, 2048)


def test_attention_and_feed_forward_have_the_700_known_modules() -> None:
    adapter = _adapter(real_sdxl_unet(), denoiser_targets("attention+feed-forward"))
    tensors = kohya_tensors(AdapterWeights({"denoiser": adapter}))
    assert _modules(list(tensors)) == _expected_denoiser((*ATTENTION, *FEED_FORWARD))
    assert len(_modules(list(tensors))) == 700


def test_the_text_encoders_have_the_known_modules_in_the_spelling_with_text_model() -> None:
    encoders = real_sdxl_text_encoders()
    parts: dict[Part, PartAdapter] = {
        "text_encoder_1": _adapter(encoders.first, text_encoder_targets()),
        "text_encoder_2": _adapter(encoders.second, text_encoder_targets()),
    }
    expected = {
        f"lora_te{number}_text_model_encoder_layers_{layer}_self_attn_{leaf}"
        for number, layers in ((1, 12), (2, 32))
        for layer, leaf in product(range(layers), ("q_proj", "k_proj", "v_proj", "out_proj"))
    }
    assert _modules(list(kohya_tensors(AdapterWeights(parts)))) == expected
    assert len(expected) == 12 * 4 + 32 * 4
    assert "text_encoder.text_model.encoder.layers.11.self_attn.q_proj.lora_A.weight" in diffusers_tensors(
        AdapterWeights(parts)
    )


@pytest.mark.parametrize("layers_per_block", [1, 2, 3])
def test_every_module_path_comes_back_from_its_kohya_name(layers_per_block: int) -> None:
    blocks = [
        *(f"down_blocks.{level}.attentions.{place}" for level in (1, 2) for place in range(layers_per_block)),
        "mid_block.attentions.0",
        *(f"up_blocks.{level}.attentions.{place}" for level in (0, 1) for place in range(layers_per_block + 1)),
    ]
    leaves = ("proj_in", "transformer_blocks.1.attn2.to_out.0", "transformer_blocks.0.ff.net.0.proj")
    paths = [f"{block}.{leaf}" for block in blocks for leaf in leaves]
    names = {path: kohya_name("denoiser", path, layers_per_block=layers_per_block) for path in paths}
    assert len(set(names.values())) == len(paths)
    for path, name in names.items():
        assert module_of(name, layers_per_block=layers_per_block) == ("denoiser", path)


@pytest.mark.parametrize("layers_per_block", [1, 2, 3])
def test_every_convolution_and_embedding_of_the_denoiser_comes_back_too(layers_per_block: int) -> None:
    paths = [
        *("conv_in", "conv_out", "time_embedding.linear_1", "add_embedding.linear_2"),
        *("down_blocks.0.downsamplers.0.conv", "down_blocks.1.resnets.0.conv_shortcut", "mid_block.resnets.1.conv2"),
        *("up_blocks.1.upsamplers.0.conv", "up_blocks.2.resnets.1.time_emb_proj", "down_blocks.0.resnets.0.norm1"),
    ]
    names = {path: kohya_name("denoiser", path, layers_per_block=layers_per_block) for path in paths}
    assert len(set(names.values())) == len(paths)
    for path, name in names.items():
        assert module_of(name, layers_per_block=layers_per_block) == ("denoiser", path)


def test_convolutions_stand_where_sdxls_original_code_has_them() -> None:
    known = {
        "down_blocks.0.resnets.1.conv1": "lora_unet_input_blocks_2_0_in_layers_2",
        "down_blocks.1.downsamplers.0.conv": "lora_unet_input_blocks_6_0_op",
        "mid_block.resnets.1.conv2": "lora_unet_middle_block_2_out_layers_3",
        "up_blocks.0.upsamplers.0.conv": "lora_unet_output_blocks_2_2_conv",
        "up_blocks.2.resnets.2.conv_shortcut": "lora_unet_output_blocks_8_0_skip_connection",
        "time_embedding.linear_2": "lora_unet_time_embed_2",
        "add_embedding.linear_1": "lora_unet_label_emb_0_0",
        "conv_out": "lora_unet_out_2",
    }
    assert {path: kohya_name("denoiser", path) for path in known} == known


def test_a_module_that_kohyas_format_cannot_name_is_refused_by_name() -> None:
    with pytest.raises(DataError, match=r"down_blocks\.0\.motion_modules\.0"):
        kohya_name("denoiser", "down_blocks.0.motion_modules.0")
