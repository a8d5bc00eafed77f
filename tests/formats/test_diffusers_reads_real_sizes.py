"""Files of real SDXL's shapes through diffusers' own loaders: every layer lands where it was trained."""

# diffusers, peft and transformers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from lorasmith.adapters.shape import denoiser_targets, text_encoder_targets
from lorasmith.export import AdapterWeights, ConceptRows, ModuleAdapter, PartAdapter
from lorasmith.formats.embeddings_format import embeddings_tensors
from lorasmith.formats.targets import Content, Target, bytes_of
from lorasmith.testing import open_pipeline, real_sdxl_text_encoders, real_sdxl_unet

RANK = 2


def _adapter(network: Any, targets: tuple[str, ...], *, dora: bool = False) -> PartAdapter:
    """An adapter with numbers of its own on every linear layer whose name ends so."""
    generator = torch.Generator().manual_seed(0)

    def module(layer: torch.nn.Linear) -> ModuleAdapter:
        down = torch.randn(RANK, layer.in_features, generator=generator)
        up = torch.randn(layer.out_features, RANK, generator=generator)
        return ModuleAdapter(down, up, 1 + torch.rand(layer.out_features, generator=generator) if dora else None)

    ends = tuple(f".{target}" for target in targets)
    layers = {path: one for path, one in network.named_modules() if isinstance(one, torch.nn.Linear)}
    return PartAdapter({path: module(one) for path, one in layers.items() if path.endswith(ends)}, RANK, RANK)


def _without_weights(network: Any) -> Any:
    """The same with zeros that take no memory: an adapter is put where its network's weights are."""
    for module in network.modules():
        for name, weight in list(module.named_parameters(recurse=False)):
            setattr(module, name, torch.nn.Parameter(torch.zeros(1).expand(weight.shape), requires_grad=False))
        for name, numbers in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros(numbers.shape, dtype=numbers.dtype))
    return network


def _read(network: Any, path: Path, prefix: str) -> dict[str, Tensor]:
    """What diffusers' loader puts into a network of the part that stands behind a prefix."""
    state, alphas, *_ = StableDiffusionXLPipeline.lora_state_dict(str(path), unet_config=real_sdxl_unet().config)
    if prefix == "unet":
        StableDiffusionXLPipeline.load_lora_into_unet(
            state, alphas, network, adapter_name="read", low_cpu_mem_usage=True
        )
    else:
        StableDiffusionXLPipeline.load_lora_into_text_encoder(
            state, alphas, network, prefix=prefix, adapter_name="read", low_cpu_mem_usage=True
        )
    return {name: value for name, value in network.state_dict().items() if ".lora_" in name}


@pytest.mark.parametrize("target", ["diffusers", "kohya"])
def test_all_700_layers_of_the_denoiser_land_where_they_were_trained(target: Target, tmp_path: Path) -> None:
    unet = _without_weights(real_sdxl_unet())
    weights = _adapter(unet, denoiser_targets("attention+feed-forward"))
    assert len(weights.modules) == 700
    (tmp_path / "a.safetensors").write_bytes(bytes_of(target, Content(AdapterWeights({"denoiser": weights}))))
    found = _read(unet, tmp_path / "a.safetensors", "unet")
    assert len(found) == 1400
    for path, module in weights.modules.items():
        down, up = (found[f"{path}.lora_{letter}.read.weight"] for letter in "AB")
        torch.testing.assert_close(down, module.down)
        torch.testing.assert_close(up, module.up)


def test_a_doras_magnitudes_land_beside_their_layers(tmp_path: Path) -> None:
    unet = _without_weights(real_sdxl_unet())
    weights = _adapter(unet, denoiser_targets("attention"), dora=True)
    (tmp_path / "a.safetensors").write_bytes(bytes_of("diffusers", Content(AdapterWeights({"denoiser": weights}))))
    found = _read(unet, tmp_path / "a.safetensors", "unet")
    assert len(found) == 3 * 560
    for path, module in weights.modules.items():
        assert module.magnitude is not None
        magnitude = found[f"{path}.lora_magnitude_vector.read.weight"]
        torch.testing.assert_close(magnitude.flatten(), module.magnitude.flatten())


@pytest.mark.parametrize("target", ["diffusers", "kohya"])
@pytest.mark.parametrize("number", [1, 2])
def test_both_text_encoders_layers_land_where_they_were_trained(target: Target, number: int, tmp_path: Path) -> None:
    encoders = real_sdxl_text_encoders()
    network = _without_weights(encoders.first if number == 1 else encoders.second)
    part = "text_encoder_1" if number == 1 else "text_encoder_2"
    weights = _adapter(network, text_encoder_targets())
    assert len(weights.modules) == (48 if number == 1 else 128)
    (tmp_path / "a.safetensors").write_bytes(bytes_of(target, Content(AdapterWeights({part: weights}))))
    found = _read(network, tmp_path / "a.safetensors", "text_encoder" if number == 1 else "text_encoder_2")
    assert len(found) == 2 * len(weights.modules)
    for path, module in weights.modules.items():
        torch.testing.assert_close(found[f"{path}.lora_A.read.weight"], module.down)
        torch.testing.assert_close(found[f"{path}.lora_B.read.weight"], module.up)


def test_embeddings_of_sdxls_widths_become_the_tokens_rows(tiny_base: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = (torch.randn(2, width, generator=generator) for width in (768, 1280))
    rows = ConceptRows("TOK", ("<s0>", "<s1>"), first, second)
    save_file(embeddings_tensors(rows), tmp_path / "a_emb.safetensors")
    pipe = open_pipeline(tiny_base)
    state = load_file(tmp_path / "a_emb.safetensors")
    for key, model, tokenizer, wanted in (
        ("clip_l", CLIPTextModel, pipe.tokenizer, first),
        ("clip_g", CLIPTextModelWithProjection, pipe.tokenizer_2, second),
    ):
        config = CLIPTextConfig(
            vocab_size=len(tokenizer), hidden_size=wanted.shape[1], intermediate_size=8, num_hidden_layers=1,
            num_attention_heads=4, projection_dim=8,
        )  # fmt: skip
        encoder: Any = model(config)
        pipe.load_textual_inversion(state[key], token=["<s0>", "<s1>"], text_encoder=encoder, tokenizer=tokenizer)
        ids = tokenizer.convert_tokens_to_ids(["<s0>", "<s1>"])
        torch.testing.assert_close(encoder.get_input_embeddings().weight[ids], wanted)
