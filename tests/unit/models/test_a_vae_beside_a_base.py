"""A VAE named beside a base is read from a folder, a single file or the hub's cache, and has to fit the base."""

# diffusers and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKL
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError, LorasmithError
from lorasmith.models import hub_files
from lorasmith.models.sdxl.components import check_base, open_components
from lorasmith.models.sdxl.sgm_writing import vae_tensors
from lorasmith.testing import tiny_pipeline

WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="session")
def other_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base with other weights than the tiny one."""
    return tiny_pipeline(tmp_path_factory.mktemp("other"), seed=1)


@pytest.fixture(scope="session")
def other_vae(other_base: Path) -> AutoencoderKL:
    """Its VAE."""
    return AutoencoderKL.from_pretrained(other_base, subfolder="vae")


def opened_vae(base: Path, vae: Path | str, variant: str | None = None) -> AutoencoderKL:
    model = ModelConfig(base=str(base), vae=str(vae), variant=variant)
    check_base(model, base)
    return open_components(model, dtype=torch.float16).vae


def assert_same(found: Any, wanted: Any) -> None:
    assert found.state_dict().keys() == wanted.state_dict().keys()
    assert all(torch.equal(found.state_dict()[name], tensor) for name, tensor in wanted.state_dict().items())
    assert found.dtype == torch.float32


@pytest.mark.parametrize("place", ["vae", "."])
def test_a_folder_or_a_whole_pipelines_folder(
    tiny_base: Path, other_base: Path, other_vae: AutoencoderKL, place: str
) -> None:
    found = opened_vae(tiny_base, other_base / place)
    assert_same(found, other_vae)
    assert found.config["scaling_factor"] == other_vae.config["scaling_factor"]


def _diffusers_names(vae: Any) -> dict[str, Tensor]:
    return vae.state_dict()


def _ldm_names(vae: Any) -> dict[str, Tensor]:
    return {name: tensor.contiguous() for name, tensor in vae_tensors(vae).items()}


def _checkpoint_names(vae: Any) -> dict[str, Tensor]:
    return {f"first_stage_model.{name}": tensor for name, tensor in _ldm_names(vae).items()}


def _comfy_names(vae: Any) -> dict[str, Tensor]:
    return {f"vae.{name}": tensor for name, tensor in _ldm_names(vae).items()}


@pytest.mark.parametrize("names", [_diffusers_names, _ldm_names, _checkpoint_names, _comfy_names])
def test_a_single_file_in_any_spelling(
    tiny_base: Path, other_vae: AutoencoderKL, tmp_path: Path, names: Callable[[Any], dict[str, Tensor]]
) -> None:
    save_file(names(other_vae), tmp_path / "vae.safetensors")
    found = opened_vae(tiny_base, tmp_path / "vae.safetensors")
    assert_same(found, other_vae)
    own = json.loads((tiny_base / "vae" / "config.json").read_text())
    assert found.config["scaling_factor"] == own["scaling_factor"], "a file says nothing of its scale"


def test_a_file_base_without_a_vae_takes_one_beside_it(
    tiny_file: Path, other_base: Path, other_vae: AutoencoderKL
) -> None:
    tensors = load_file(tiny_file)
    save_file({name: tensors[name] for name in tensors if not name.startswith("first_stage_model.")}, tiny_file)
    assert_same(opened_vae(tiny_file, other_base / "vae"), other_vae)


@pytest.fixture
def hub_vae(other_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository of the hub with one VAE in it, of which only what is asked for is fetched."""
    repository, fetched = tmp_path / "repository", tmp_path / "fetched"
    shutil.copytree(other_base / "vae", repository)
    fetched.mkdir()

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        assert (name, revision) == ("somebody/vae", None), "the base's revision is not the VAE's"
        for pattern in allow_patterns:
            assert "*" not in pattern
            if (repository / pattern).exists():
                shutil.copyfile(repository / pattern, fetched / pattern)
        return str(fetched)

    monkeypatch.setattr(hub_files, "snapshot_download", download)
    return repository


def test_a_vae_of_the_hub_opens_without_the_bases_variant(
    tiny_base: Path, other_vae: AutoencoderKL, hub_vae: Path, tmp_path: Path
) -> None:
    """diffusers' script asks the VAE's repository for the base's variant and breaks (`--variant fp16`)."""
    base = tmp_path / "fp16"
    shutil.copytree(tiny_base, base)
    for weights in [*base.rglob("*.safetensors")]:
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    model = ModelConfig(base=str(base), vae="somebody/vae", variant="fp16", revision="fp16-branch")
    check_base(model, base)
    assert sorted(path.name for path in (tmp_path / "fetched").iterdir()) == ["config.json"], (
        "a plan fetches no weights"
    )
    assert_same(open_components(model, dtype=torch.float32).vae, other_vae)


def test_a_vae_of_the_hub_that_has_only_the_variant_opens_as_well(
    tiny_base: Path, other_vae: AutoencoderKL, hub_vae: Path, tmp_path: Path
) -> None:
    (hub_vae / WEIGHTS).rename(hub_vae / "diffusion_pytorch_model.fp16.safetensors")
    base = tmp_path / "fp16"
    shutil.copytree(tiny_base, base)
    for weights in [*base.rglob("*.safetensors")]:
        weights.rename(weights.with_suffix(".fp16.safetensors"))
    assert_same(opened_vae(base, "somebody/vae", "fp16"), other_vae)


def test_a_vae_of_the_hub_with_pickles_alone_is_refused(tiny_base: Path, hub_vae: Path) -> None:
    (hub_vae / WEIGHTS).rename(hub_vae / "diffusion_pytorch_model.bin")
    with pytest.raises(DataError, match=r"somebody/vae has no .*\.safetensors \(pickles are not read\) \(model\.vae\)"):
        opened_vae(tiny_base, "somebody/vae")


def _changed(**config: object) -> Callable[[Path], Path]:
    def change(vae: Path) -> Path:
        found = json.loads((vae / "config.json").read_text())
        (vae / "config.json").write_text(json.dumps({**found, **config}))
        return vae

    return change


def _as_file(name: str, shape: tuple[int, ...] | None) -> Callable[[Path], Path]:
    def change(vae: Path) -> Path:
        tensors = _ldm_names(AutoencoderKL.from_pretrained(vae))
        tensors |= {name: torch.zeros(shape)} if shape is not None else {}
        if shape is None:
            tensors.pop(name)
        save_file(tensors, vae / "vae.safetensors")
        return vae / "vae.safetensors"

    return change


def _lora(vae: Path) -> Path:
    save_file({"lora_unet_mid.lora_down.weight": torch.zeros(4, 4)}, vae / "lora.safetensors")
    return vae / "lora.safetensors"


def _gone(vae: Path) -> Path:
    return vae / "nowhere" / "at" / "all"


def _pickle(vae: Path) -> Path:
    (vae / "vae.pt").write_bytes(b"\x80\x02}q\x00.")
    return vae / "vae.pt"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_changed(latent_channels=16), "makes latents of 16 channels and the base's denoiser takes 4"),
        (_changed(block_out_channels=[8, 8, 16]), "makes one latent of 4 pixels a side and the base's own of 8"),
        (_changed(_class_name="AutoencoderTiny"), "is a AutoencoderTiny where SDXL has an AutoencoderKL"),
        (_as_file("decoder.conv_in.weight", (16, 16, 3, 3)), "latents of 16 channels and the base's denoiser takes 4"),
        (_as_file("encoder.conv_in.weight", (16, 3, 3, 3)), "conv_in.weight is 16×3×3×3 where 8×3×3×3 is wanted"),
        (_as_file("encoder.norm_out.bias", None), "encoder.conv_norm_out.bias is missing"),
        (_lora, "holds no VAE"),
        (_pickle, "vae.pt is a pickle"),
        (_gone, "there is no VAE at"),
    ],
)  # fmt: skip
def test_a_vae_that_does_not_fit_is_refused_before_anything_is_loaded(
    tiny_base: Path, other_base: Path, tmp_path: Path, change: Callable[[Path], Path], says: str
) -> None:
    shutil.copytree(other_base / "vae", tmp_path / "vae")
    place = change(tmp_path / "vae")
    with pytest.raises(LorasmithError) as refused:
        check_base(ModelConfig(base=str(tiny_base), vae=str(place)), tiny_base)
    (problem,) = refused.value.problems
    assert says in problem.what
    assert problem.where == "model.vae"
    assert problem.remedy


def test_a_vae_without_the_bases_statistics_is_refused(tiny_base: Path, other_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "playground"
    shutil.copytree(tiny_base, base)
    _changed(latents_mean=[0.0] * 4, latents_std=[1.0] * 4)(base / "vae")
    with pytest.raises(DataError, match="has no latents_mean"):
        check_base(ModelConfig(base=str(base), vae=str(other_base / "vae")), base)
