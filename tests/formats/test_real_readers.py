"""What is said of programs is what their own loaders do: diffusers', and InvokeAI's and LyCORIS' where installed."""

# diffusers, safetensors, invokeai and lycoris are only partly typed, or not installed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingImports=false, reportMissingTypeStubs=false

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from merging import loaded_changes
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.export import AdapterKind, AdapterWeights
from lorasmith.formats.adapters import adapters_in, modules_in
from lorasmith.formats.dora import change_by, dora_change
from lorasmith.formats.opening import open_weights
from lorasmith.formats.programs import PROGRAMS
from lorasmith.formats.readings import Reading, readings
from lorasmith.formats.targets import Content, Target, bytes_of

Trained = Callable[[AdapterKind], tuple[Any, AdapterWeights]]


def said_of(program: str, path: Path) -> Reading:
    return next(one for one in readings(open_weights(path)) if one.program == program)


def our_changes(path: Path) -> dict[str, Tensor]:
    return {
        f"{part}.{name.removeprefix('text_model.')}": module.change()
        for part, modules in adapters_in(open_weights(path)).items()
        for name, module in modules.items()
    }


@pytest.mark.parametrize("target", ["diffusers", "kohya", "kohya-diffusers"])
def test_diffusers_loads_what_it_is_said_to_read_whole(
    target: Target, trained: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes_of(target, Content(trained("lora")[1])))
    assert said_of("diffusers", path).verdict == "whole"
    found, wanted = loaded_changes(tiny_base, path), our_changes(path)
    assert found.keys() == wanted.keys()
    for name, change in wanted.items():
        torch.testing.assert_close(found[name], change, rtol=1e-4, atol=1e-5)


def test_diffusers_scales_by_the_commonest_alpha_as_is_said(trained: Trained, tiny_base: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes_of("kohya", Content(trained("lora")[1])))
    tensors = load_file(path)
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
    save_file(tensors | {f"{name}.alpha": tensors[f"{name}.alpha"] / 3}, path)
    said = said_of("diffusers", path)
    key = "denoiser.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
    found, wanted = loaded_changes(tiny_base, path)[key], our_changes(path)[key]
    real = ((found - wanted).norm() / wanted.norm()).item()
    assert said.verdict == "different"
    assert said.difference == pytest.approx(real, rel=1e-3) == pytest.approx(2.0, rel=1e-3)


@pytest.mark.parametrize("target", ["comfyui", "a1111-bundle"])
def test_diffusers_refuses_what_it_is_said_not_to_read(
    target: Target, trained: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes_of("kohya" if target == "a1111-bundle" else target, Content(trained("lora")[1])))
    if target == "a1111-bundle":
        rows = {"bundle_emb.wolf.clip_l": torch.ones(1, 32), "bundle_emb.wolf.clip_g": torch.ones(1, 48)}
        save_file(load_file(path) | rows, path)
    assert said_of("diffusers", path).verdict == "not"
    found: dict[str, Tensor] = {}
    with contextlib.suppress(Exception):  # whatever it says, it does not read the file
        found = loaded_changes(tiny_base, path)
    assert not any(change.any() for change in found.values())


def test_diffusers_adds_kohyas_dora_as_a_plain_lora_as_is_said(
    trained: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(bytes_of("kohya", Content(trained("dora")[1])))
    said = said_of("diffusers", path)
    assert (said.verdict, "plain LoRA" in " ".join(said.reasons)) == ("different", True)
    found, wanted = loaded_changes(tiny_base, path), our_changes(path)  # without the magnitudes
    for name, change in wanted.items():
        torch.testing.assert_close(found[name], change, rtol=1e-4, atol=1e-5)


def _on_sdxls_sizes(folder: Path, *, scales: tuple[int, int] | None = None, text: bool = True) -> Path:
    """A few layers of real SDXL's sizes in kohya's spelling, alpha ≠ rank; a DoRA's magnitudes [out, 1] or [1, in]."""
    generator = torch.Generator().manual_seed(0)
    layers = {
        "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q": (640, 640),
        "lora_unet_input_blocks_8_1_transformer_blocks_9_attn2_to_k": (1280, 2048),
        "lora_unet_output_blocks_5_1_transformer_blocks_1_ff_net_0_proj": (5120, 640),
    }
    if text:
        layers |= {f"lora_te1_text_model_encoder_layers_11_self_attn_{one}_proj": (768, 768) for one in "qkv"}
        layers |= {"lora_te2_text_model_encoder_layers_31_mlp_fc1": (5120, 1280)}
    tensors: dict[str, Tensor] = {}
    for name, (outputs, inputs) in layers.items():
        tensors[f"{name}.lora_down.weight"] = torch.randn(4, inputs, generator=generator) * 0.2
        tensors[f"{name}.lora_up.weight"] = torch.randn(outputs, 4, generator=generator) * 0.2
        tensors[f"{name}.alpha"] = torch.tensor(2.0)
        if scales is not None:
            shape = (outputs if scales[0] else 1, inputs if scales[1] else 1)
            tensors[f"{name}.dora_scale"] = 20 + torch.rand(shape, generator=generator)
    save_file(tensors, folder / "a.safetensors", {"ss_base_model_version": "sdxl_base_v1-0"})
    return folder / "a.safetensors"


def _invokeai(path: Path) -> dict[str, Any]:
    """The layers that InvokeAI's own loader makes of a file."""
    reason = "InvokeAI is not installed: it pins other versions of torch, transformers and diffusers"
    keys = pytest.importorskip("invokeai.backend.patches.lora_conversions.sdxl_lora_conversion_utils", reason=reason)
    makes = pytest.importorskip("invokeai.backend.patches.lora_conversions.sd_lora_conversion_utils", reason=reason)
    return makes.lora_model_from_sd_state_dict(keys.convert_sdxl_keys_to_diffusers_format(load_file(path))).layers


@pytest.mark.parametrize("scales", [None, (1, 0), (0, 1)])
def test_invokeai_adds_what_is_said_of_it(scales: tuple[int, int] | None, tmp_path: Path) -> None:
    path = _on_sdxls_sizes(tmp_path, scales=scales)
    layers = _invokeai(path)
    program = next(one for one in PROGRAMS if one.name == "InvokeAI")
    modules = modules_in(open_weights(path))
    assert len(layers) == len(modules)
    for module in modules:
        prefix = {"denoiser": "lora_unet_", "text_encoder_1": "lora_te1_", "text_encoder_2": "lora_te2_"}[module.part]
        layer = layers[prefix + module.path.replace(".", "_")]
        weight = torch.randn(module.adapter().shape, generator=torch.Generator().manual_seed(1))
        found = layer.get_weight(weight.clone()) * (1.0 if scales is not None else layer.scale())
        wanted = change_by(program.dora, weight, module.adapter(scale=1.0), scale=module.scale)
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-3)
    assert said_of("InvokeAI", path).verdict == ("different" if scales == (1, 0) else "whole")


@pytest.mark.parametrize("scales", [None, (1, 0), (0, 1)])
def test_lycoris_merges_what_we_read(scales: tuple[int, int] | None, tmp_path: Path) -> None:
    locon = pytest.importorskip("lycoris.modules.locon", reason="lycoris-lora is not installed")
    path = _on_sdxls_sizes(tmp_path, scales=scales, text=False)
    for module in modules_in(open_weights(path)):
        outputs, inputs = module.adapter().shape
        linear = torch.nn.Linear(inputs, outputs, bias=False)
        made = locon.LoConModule(
            "a", linear, 1.0, module.rank, module.alpha, weight_decompose=scales is not None, wd_on_out=scales == (1, 0)
        )
        with torch.no_grad():
            made.lora_up.weight.copy_(module.pieces["up"])
            made.lora_down.weight.copy_(module.pieces["down"])
            if scales is not None:
                made.dora_scale.copy_(module.pieces["magnitude"])
            found = made.get_merged_weight()[0] - linear.weight
        wanted = dora_change(linear.weight.detach(), module.adapter())
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-4)
