"""A base in one file, in sgm's names as community checkpoints are, is the same base as its diffusers folder."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import copy
import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError
from lorasmith.inference.pipeline import open_pipeline
from lorasmith.models.safetensors_header import Header, TensorEntry
from lorasmith.models.sdxl import bundled, components, sgm_names, single_file
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.models.sdxl.description import PART_FOLDERS, read_configs
from lorasmith.testing import real_sdxl_text_encoders, real_sdxl_unet, real_sdxl_vae, sgm_tensors
from lorasmith.testing.real_sdxl import first_text_config, second_text_config, unet_config, vae_config

SDXL_NAMES_AND_SHAPES = "29005b395800d0f2ba73b65a1d56a473a9c454e82d1f3a64c2ce4d0cd9294220"
"""SHA-256 of the 2,515 lines `name AxBxC` of SDXL base 1.0's single file, sorted, as a public list of them has it."""

PARTS = ("unet", "vae", "text_encoder_1", "text_encoder_2")


@pytest.fixture(scope="module")
def real() -> Mapping[str, Tensor]:
    """All tensors of a real SDXL single file, on the meta device."""
    encoders = real_sdxl_text_encoders()
    pipeline = SimpleNamespace(
        unet=real_sdxl_unet(), vae=real_sdxl_vae(), text_encoder=encoders.first, text_encoder_2=encoders.second
    )
    return sgm_tensors(pipeline)


def header_of(tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Header:
    entries = {name: TensorEntry("F16", tuple(tensor.shape)) for name, tensor in tensors.items()}
    return Header(Path("sdxl.safetensors"), entries, metadata or {})


def test_the_test_helper_writes_the_names_and_shapes_of_sdxls_own_file(real: Mapping[str, Tensor]) -> None:
    lines = [f"{name} {'x'.join(map(str, tensor.shape))}" for name, tensor in sorted(real.items())]
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == SDXL_NAMES_AND_SHAPES
    counts = {part: sum(name.startswith(prefix) for name in real) for part, prefix in sgm_names.PREFIXES.items()}
    assert counts == {"unet": 1680, "vae": 248, "text_encoder": 197, "text_encoder_2": 390}
    assert len(real) == 2515


def test_every_tensor_of_a_real_sdxl_file_finds_its_place_and_no_place_stays_empty(real: Mapping[str, Tensor]) -> None:
    header = header_of(real)
    configs = read_configs(bundled.folder()).configs
    found, used = 0, 0
    for part in PART_FOLDERS:
        module = sgm_names.empty_module(part, configs[part])
        shapes = sgm_names.shapes_only(header, sgm_names.names_of(part, header))
        assert single_file.misfits_of(part, shapes, module=module, config=configs[part]) == []
        converted = sgm_names.converted(part, shapes, module=module, config=configs[part])
        assert converted.keys() == module.state_dict().keys()
        found += len(shapes)
        used += len(converted)
    # 32 layers' fused weights and biases are three each; `position_ids` and `logit_scale` are nobody's.
    assert used == found + 32 * 2 * 2 - 2 == 2515 + 126


def test_the_configs_that_a_file_leaves_out_are_sdxls(real: Mapping[str, Tensor]) -> None:
    configs = read_configs(bundled.folder()).configs

    def as_json(config: Mapping[str, Any], names: Mapping[str, Any]) -> object:
        return json.loads(json.dumps({name: config[name] for name in names}))

    for config, shipped in ((unet_config(), configs["unet"]), (vae_config(), configs["vae"])):
        assert as_json(config, config) == as_json(shipped, config)
    texts = ((first_text_config(), configs["text_encoder"]), (second_text_config(), configs["text_encoder_2"]))
    for said, shipped in texts:
        ours = {name: value for name, value in shipped.items() if name not in ("architectures", "model_type")}
        assert as_json(said.to_dict(), ours) == ours
        assert len(ours) > 10


@pytest.fixture
def both(tiny_base: Path, tiny_file: Path) -> tuple[SdxlComponents, SdxlComponents]:
    """The tiny base out of its folder and out of its file."""
    folder, file = (
        open_components(ModelConfig(base=str(place)), dtype=torch.float32) for place in (tiny_base, tiny_file)
    )
    return folder, file


def test_every_tensor_comes_back_as_it_was(both: tuple[SdxlComponents, SdxlComponents]) -> None:
    for part in PARTS:
        folder, file = (getattr(opened, part) for opened in both)
        ours, theirs = file.state_dict(), folder.state_dict()
        assert ours.keys() == theirs.keys()
        assert [name for name in theirs if not torch.equal(ours[name], theirs[name])] == []
        assert [name for name, tensor in [*file.named_parameters(), *file.named_buffers()] if tensor.is_meta] == []
        assert not file.training


def test_prompts_predictions_latents_and_pictures_are_the_same(tiny_base: Path, tiny_file: Path) -> None:
    cpu = torch.device("cpu")
    pipelines: list[Any] = [
        open_pipeline(ModelConfig(base=str(place)), device=cpu, dtype=torch.float32) for place in (tiny_base, tiny_file)
    ]
    answers: list[tuple[Tensor, ...]] = []
    noise = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    for pipe in pipelines:
        with torch.no_grad():
            hidden, _, pooled, _ = pipe.encode_prompt("a red dog", do_classifier_free_guidance=False)
            added = {"text_embeds": pooled, "time_ids": torch.ones(1, 6) * 64}
            prediction = pipe.unet(noise, torch.tensor([500]), hidden, added_cond_kwargs=added).sample
            latents = pipe.vae.encode(torch.ones(1, 3, 64, 64) * 0.3).latent_dist.mean
            drawn: Any = pipe("a red dog", num_inference_steps=3, latents=noise, output_type="pt").images
        answers.append((hidden, pooled, prediction, latents, drawn))
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=1e-6)
    assert answers[0][2].abs().max() > 0.01


def test_a_file_in_half_precision_stays_mapped_in_it_and_the_vae_is_read_in_fp32(tiny_file: Path) -> None:
    half = {
        name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in load_file(tiny_file).items()
    }
    save_file(half, tiny_file)
    opened = open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float16)
    assert {tensor.dtype for tensor in opened.unet.parameters()} == {torch.float16}
    assert {tensor.dtype for tensor in opened.vae.parameters()} == {torch.float32}
    start, end = _mapped_range(tiny_file)
    weights = [tensor for tensor in opened.unet.parameters() if tensor.numel() > 1000]
    assert all(start <= tensor.data_ptr() < end for tensor in weights), "read, not copied"
    full = open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)
    torch.testing.assert_close(full.unet.conv_in.weight, opened.unet.conv_in.weight.float(), rtol=0, atol=0)


def _mapped_range(path: Path) -> tuple[int, int]:
    """The addresses at which this process has the file mapped."""
    maps = Path("/proc/self/maps")
    if not maps.exists():
        pytest.skip("only Linux says what is mapped where")
    found = [line.split()[0] for line in maps.read_text().splitlines() if line.endswith(str(path))]
    numbers = [int(number, 16) for span in found for number in span.split("-")]
    return min(numbers), max(numbers)


def test_a_denoiser_with_a_layer_too_many_is_refused(tiny_file: Path) -> None:
    tensors = load_file(tiny_file)
    tensors["model.diffusion_model.input_blocks.1.0.ip_adapter.weight"] = torch.zeros(3)
    save_file(tensors, tiny_file)
    with pytest.raises(DataError, match=r"ip_adapter.weight is unknown"):
        open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)


@pytest.mark.parametrize(
    "name", ["alphas_cumprod", "model_ema.decay", "denoiser.sigmas", "conditioner.embedders.1.model.logit_scale"]
)
def test_what_files_carry_beside_a_base_does_no_harm(tiny_file: Path, name: str) -> None:
    tensors = load_file(tiny_file) | {name: torch.zeros(3)}
    save_file(tensors, tiny_file)
    open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)


def _cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1000])


def _without(part: str) -> Callable[[Path], None]:
    def spoil(path: Path) -> None:
        save_file({name: tensor for name, tensor in load_file(path).items() if not name.startswith(part)}, path)

    return spoil


def _wider(path: Path) -> None:
    tensors = load_file(path)
    name = "first_stage_model.decoder.conv_in.weight"
    tensors[name] = torch.cat([tensors[name], tensors[name]], dim=1)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_cut, "it was cut short"),
        (_without("conditioner.embedders.1.model.text_projection"), "text_projection.weight is missing"),
        (_without("first_stage_model."), "has no VAE in it. Name one with model.vae"),
        (_without("conditioner.embedders.0."), "36 tensors do not fit"),
        (_wider, "decoder.conv_in.weight is 16×8×3×3 where 16×4×3×3 is wanted"),
    ],
)
def test_a_file_that_is_not_whole_is_refused_before_weights_are_read(
    tiny_file: Path, spoil: Callable[[Path], None], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil(tiny_file)
    monkeypatch.setattr(components, "load_part", None)
    with pytest.raises(DataError) as refused:
        open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)
    assert says.replace(". Name", " (model.base). Name") in str(refused.value)


def test_opening_leaves_the_file_as_it_was(tiny_file: Path) -> None:
    before = copy.copy(tiny_file.read_bytes())
    opened = open_components(ModelConfig(base=str(tiny_file)), dtype=torch.float32)
    with torch.no_grad():
        opened.unet.conv_in.weight.add_(1)
    assert tiny_file.read_bytes() == before
