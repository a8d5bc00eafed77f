"""B-LoRA's blocks, each exported alone: every file changes its own block and nothing else."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from merging import assert_same, loaded_changes, relative, wanted_changes
from safetensors.torch import load_file

from lorasmith.adapters.shape import AdapterShape, adapted_ranks, denoiser_targets
from lorasmith.config.adapter import CONTENT_BLOCK, STYLE_BLOCK, AdapterConfig
from lorasmith.export import AdapterWeights, ExportInfo, ModuleAdapter, NewTokenRows, PartAdapter, bake, write_exports
from lorasmith.formats.kohya_format import kohya_tensors
from lorasmith.testing import real_sdxl_unet

Trained = Callable[..., tuple[Any, AdapterWeights]]
ROLES = AdapterConfig(b_lora=True).roles
BLOCKS = (CONTENT_BLOCK, STYLE_BLOCK)


@pytest.fixture
def exported(tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo) -> tuple[Path, AdapterWeights]:
    _, weights = trained("lora", blocks=BLOCKS)
    weights = replace(weights, roles=ROLES)
    write_exports(tmp_path / "export", weights, rows=rows, info=info)
    return tmp_path / "export", weights


@pytest.mark.parametrize("spelling", ["", "_diffusers"])
@pytest.mark.parametrize("role", ROLES)
def test_a_roles_file_changes_its_own_block_alone(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, role: str, spelling: str
) -> None:
    folder, weights = exported
    found = loaded_changes(tiny_base, folder / f"my-dog_{role}{spelling}.safetensors")
    assert all(name.startswith(f"denoiser.{ROLES[role]}.") for name in found)
    every = wanted_changes(weights)
    assert_same(found, {name: change for name, change in every.items() if name.startswith(f"denoiser.{ROLES[role]}.")})


def test_the_whole_is_content_style_and_the_text_encoders(
    exported: tuple[Path, AdapterWeights], tiny_base: Path
) -> None:
    folder, weights = exported
    both = {
        name
        for role in ROLES
        for name in loaded_changes(tiny_base, folder / f"my-dog_{role}.safetensors")
    }  # fmt: skip
    whole = loaded_changes(tiny_base, folder / "my-dog.safetensors")
    assert_same(whole, wanted_changes(weights))
    assert both == {name for name in whole if name.startswith("denoiser.")}


def test_real_sdxls_content_and_style_are_output_blocks_0_and_1() -> None:
    """What A1111 and ComfyUI call them, and how many layers: ten transformer layers of eight linears each."""
    unet: Any = real_sdxl_unet()
    linears = {path: layer for path, layer in unet.named_modules() if isinstance(layer, torch.nn.Linear)}
    ranks = adapted_ranks(linears, AdapterShape("lora", 2, 2.0, 0.0, denoiser_targets("attention"), BLOCKS))
    modules = {
        path: ModuleAdapter(torch.zeros(rank, linears[path].in_features), torch.zeros(linears[path].out_features, rank))
        for path, rank in ranks.items()
    }
    weights = AdapterWeights({"denoiser": PartAdapter(modules, 2, 2.0)}, roles=ROLES)
    for role, kohya in (("content", "output_blocks_0_1"), ("style", "output_blocks_1_1")):
        names = kohya_tensors(weights.inside(ROLES[role]))
        assert len(names) == 3 * 80
        assert all(name.startswith(f"lora_unet_{kohya}_transformer_blocks_") for name in names)


def test_a_dora_has_each_block_baked_too(
    tmp_path: Path, trained: Trained, tiny_base: Path, rows: NewTokenRows, info: ExportInfo
) -> None:
    pipeline, weights = trained("dora", blocks=BLOCKS)
    parts: Any = {"denoiser": pipeline.unet, "text_encoder_1": pipeline.text_encoder}
    parts["text_encoder_2"] = pipeline.text_encoder_2
    baked = bake(weights, parts, rank=1024)
    write_exports(tmp_path, replace(weights, roles=ROLES, baked=baked), rows=rows, info=info)
    whole = loaded_changes(tiny_base, tmp_path / "pytorch_lora_weights.safetensors")
    for role, block in ROLES.items():
        assert any(name.endswith(".dora_scale") for name in load_file(tmp_path / f"my-dog_{role}.safetensors"))
        found = loaded_changes(tiny_base, tmp_path / f"my-dog_{role}_baked.safetensors")
        wanted = {name: change for name, change in whole.items() if name.startswith(f"denoiser.{block}.")}
        assert found.keys() == wanted.keys()
        assert max(relative(found[name], wanted[name]) for name in wanted) < 1e-4


def test_the_card_says_which_file_holds_what(exported: tuple[Path, AdapterWeights]) -> None:
    card = (exported[0] / "README.md").read_text()
    assert f"content, the block `{CONTENT_BLOCK}`: `my-dog_content_diffusers.safetensors` in diffusers" in card
    assert f"style, the block `{STYLE_BLOCK}`: `my-dog_style_diffusers.safetensors` in diffusers" in card
    assert "`my-dog_style.safetensors` in A1111" in card
