"""The same LoRA is read out of every program's spelling."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

from pathlib import Path

import pytest
import torch
from made_loras import ALPHA, RANK, SPELLINGS, Lora, kohya, processors
from safetensors.torch import save_file

from lorasmith.errors import DataError
from lorasmith.export.read import adapters_in, open_weights
from lorasmith.formats.adapters import layers_per_block_in
from lorasmith.formats.diffusers_format import diffusers_tensors
from lorasmith.formats.keys import read_key
from lorasmith.formats.kohya_format import kohya_tensors
from lorasmith.formats.serialised import serialise
from lorasmith.formats.weights import AdapterWeights, ModuleAdapter, PartAdapter


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_told_and_read_to_the_same_adapters(spelling: str, lora: Lora, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(SPELLINGS[spelling](lora), path)
    file = open_weights(path)
    assert file.format == spelling
    found = adapters_in(file)
    assert {(part, name) for part, modules in found.items() for name in modules} == lora.keys()
    for (part, name), module in lora.items():
        torch.testing.assert_close(found[part][name].change(), module.change() * (ALPHA / RANK))


@pytest.mark.parametrize(("beginning", "spelling"), [("unet.", "diffusers-old"), ("", "cog")])
def test_attention_processors_of_2023_are_read(beginning: str, spelling: str, lora: Lora, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file(processors(lora, beginning), path)
    file = open_weights(path)
    assert file.format == spelling
    found = adapters_in(file)["denoiser"]
    attention = {at: module for at, module in lora.items() if at[0] == "denoiser" and ".to_" in at[1]}
    assert found.keys() == {name for _, name in attention}
    for (_, name), module in attention.items():
        torch.testing.assert_close(found[name].change(), module.change() * (ALPHA / RANK))


def test_a_convolution_is_read_with_and_without_a_core(tmp_path: Path) -> None:
    whole = torch.randn(2, 8, 3, 3)
    core, thin, up = torch.randn(2, 2, 3, 3), torch.randn(2, 8, 1, 1), torch.randn(16, 2, 1, 1)
    plain, tucker = "lora_unet_input_blocks_1_0_in_layers_2", "lora_unet_output_blocks_2_2_conv"
    save_file(
        {
            f"{plain}.lora_down.weight": whole, f"{plain}.lora_up.weight": up,
            f"{tucker}.lora_down.weight": thin, f"{tucker}.lora_mid.weight": core,
            f"{tucker}.lora_up.weight": up.clone(),
        },
        tmp_path / "c.safetensors",
    )  # fmt: skip
    found = adapters_in(open_weights(tmp_path / "c.safetensors"))["denoiser"]
    picture = torch.randn(1, 8, 6, 6)
    conv = torch.nn.functional.conv2d
    by_layers = conv(conv(picture, whole), up)
    torch.testing.assert_close(
        conv(picture, found["down_blocks.0.resnets.0.conv1"].change()), by_layers, rtol=1e-4, atol=1e-4
    )
    by_layers = conv(conv(conv(picture, thin), core), up)
    torch.testing.assert_close(
        conv(picture, found["up_blocks.0.upsamplers.0.conv"].change()), by_layers, rtol=1e-4, atol=1e-4
    )


def test_a_magnitudes_axis_is_told_by_its_shape(tmp_path: Path) -> None:
    names = {axis: f"lora_unet_middle_block_1_transformer_blocks_{axis}_attn1_to_q" for axis in (0, 1)}
    halves = {
        f"{name}.{half}.weight": torch.ones(shape)
        for name in names.values()
        for half, shape in (("lora_down", (2, 8)), ("lora_up", (8, 2)))
    }
    scales = {f"{names[0]}.dora_scale": torch.arange(8.0)[:, None], f"{names[1]}.dora_scale": torch.arange(8.0)[None]}
    save_file(halves | scales, tmp_path / "d.safetensors")
    found = adapters_in(open_weights(tmp_path / "d.safetensors"))["denoiser"]
    axes = [found[f"mid_block.attentions.0.transformer_blocks.{index}.attn1.to_q"].magnitude_axis for index in (0, 1)]
    assert axes == ["output", "input"]
    save_file(halves | {f"{names[0]}.dora_scale": torch.ones(3, 1)}, tmp_path / "e.safetensors")
    with pytest.raises(DataError, match=r"\(3, 1\)"):
        adapters_in(open_weights(tmp_path / "e.safetensors"))


def test_a_module_in_two_spellings_is_refused(lora: Lora, tmp_path: Path) -> None:
    twice = kohya(lora) | kohya(lora, of_sgm=False)
    save_file({name: tensor.clone() for name, tensor in twice.items()}, tmp_path / "a.safetensors")
    with pytest.raises(DataError, match="two adapters"):
        adapters_in(open_weights(tmp_path / "a.safetensors"))


@pytest.mark.parametrize(
    "name",
    [
        "lora_unet_double_blocks_0_img_attn_proj.lora_down.weight",
        "lora_te_text_model_encoder_layers_0_self_attn_q_proj.lora_down.weight",
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q.weight",
        "lora_unet_input_blocks_0_1_proj_in.lora_down.weight",
        "../../unet.lora_A.weight",
    ],
)
def test_names_that_are_no_module_of_sdxls_are_no_keys(name: str) -> None:
    assert read_key(name) is None


@pytest.mark.parametrize("layers_per_block", [1, 3])
def test_another_bases_blocks_are_told_by_its_numbers(layers_per_block: int, tmp_path: Path) -> None:
    paths = [
        *(f"down_blocks.{level}.attentions.{place}" for level in (1, 2) for place in range(layers_per_block)),
        *(f"up_blocks.{level}.attentions.{place}" for level in (0, 1) for place in range(layers_per_block + 1)),
    ]
    modules = {
        f"{path}.transformer_blocks.0.attn2.to_k": ModuleAdapter(torch.ones(2, 96), torch.ones(64, 2)) for path in paths
    }
    weights = AdapterWeights({"denoiser": PartAdapter(modules, 2, 2.0)}, layers_per_block)
    for number, tensors in enumerate((kohya_tensors(weights), diffusers_tensors(weights))):
        path = tmp_path / f"{number}.safetensors"
        path.write_bytes(serialise(tensors, {}))
        assert adapters_in(open_weights(path))["denoiser"].keys() == modules.keys()
        assert layers_per_block_in(open_weights(path)) == layers_per_block
