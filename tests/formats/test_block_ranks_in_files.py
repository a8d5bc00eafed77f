"""Adapters whose blocks have ranks of their own: every file gives every layer the trained change."""

# safetensors and diffusers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from merging import assert_same, changes_in, loaded_changes, relative, wanted_changes
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lorasmith.export import AdapterWeights, ExportInfo, NewTokenRows, inspect_file, write_exports
from lorasmith.export.read import adapters_in, open_weights
from lorasmith.runs.exports import in_precision
from lorasmith.testing import open_pipeline

Trained = Callable[..., tuple[Any, AdapterWeights]]
RANKS = {"mid_block": 9, "up_blocks.0": 2, "up_blocks.0.attentions.1": 6}
DIFFUSERS, KOHYA = "pytorch_lora_weights.safetensors", "my-dog.safetensors"


@pytest.fixture
def exported(tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo) -> tuple[Path, AdapterWeights]:
    """Rank 4 and alpha 3 where no block says otherwise."""
    _, weights = trained("lora", block_ranks=RANKS)
    write_exports(tmp_path / "export", weights, rows=rows, info=info)
    return tmp_path / "export", weights


@pytest.mark.parametrize("file", [DIFFUSERS, KOHYA])
def test_each_file_gives_every_layer_the_trained_change(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, file: str
) -> None:
    folder, weights = exported
    assert {module.rank for module in weights.parts["denoiser"].modules.values()} == {2, 4, 6, 9}
    assert_same(loaded_changes(tiny_base, folder / file), wanted_changes(weights))


def test_readers_that_know_no_header_give_the_same_change(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, tmp_path: Path
) -> None:
    folder, weights = exported
    save_file(load_file(folder / DIFFUSERS), tmp_path / "bare.safetensors")
    assert_same(loaded_changes(tiny_base, tmp_path / "bare.safetensors"), wanted_changes(weights))


def test_kohyas_alpha_is_one_because_diffusers_passes_over_others(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, tmp_path: Path
) -> None:
    """The same weights with each layer's own alpha, as kohya's scripts write them, come out wrong there."""
    folder, weights = exported
    tensors = load_file(folder / KOHYA)
    assert {tensor.item() for name, tensor in tensors.items() if name.endswith(".alpha")} == {3.0, 1.0}
    for name in [name for name in tensors if name.startswith("lora_unet") and name.endswith(".alpha")]:
        layer = name.removesuffix(".alpha")
        rank = len(tensors[f"{layer}.lora_down.weight"])
        tensors[name] = tensors[name] * rank / 4
        tensors[f"{layer}.lora_up.weight"] *= 4 / rank
    save_file(tensors, tmp_path / "by-layer.safetensors")
    found, wanted = loaded_changes(tiny_base, tmp_path / "by-layer.safetensors"), wanted_changes(weights)
    wrong = {name for name, change in wanted.items() if relative(found[name], change) > 0.1}
    assert wrong
    assert all(".mid_block." in name or ".up_blocks.0." in name for name in wrong)


def test_the_header_names_blocks_not_hundreds_of_layers(exported: tuple[Path, AdapterWeights]) -> None:
    with safe_open(exported[0] / DIFFUSERS, framework="pt") as file:
        opened: Any = file
        settings = json.loads(opened.metadata()["lora_adapter_metadata"])
    assert len(settings["unet.rank_pattern"]) < 8
    assert settings["unet.rank_pattern"] == settings["unet.alpha_pattern"]
    assert settings["text_encoder.rank_pattern"] == {}


def test_people_are_told_every_rank(exported: tuple[Path, AdapterWeights]) -> None:
    assert inspect_file(exported[0] / KOHYA).ranks == (2, 3, 4, 6, 9)
    assert inspect_file(exported[0] / DIFFUSERS).ranks == (2, 3, 4, 6, 9)
    assert "LoRA, ranks 2, 4, 6, 9, alpha ÷ rank 0.75," in (exported[0] / "README.md").read_text()


def test_a_file_that_says_alphas_by_layer_is_read_as_diffusers_reads_it(
    trained: Trained, tiny_base: Path, tmp_path: Path
) -> None:
    """As diffusers' own writer does it: nothing folded in, alphas in the header alone."""
    pipeline, weights = trained("lora", block_ranks=RANKS)
    adapter = weights.parts["denoiser"]
    tensors = {
        f"unet.{path}.{name}.weight": tensor.contiguous()
        for path, module in adapter.modules.items()
        for name, tensor in (("lora_A", module.down), ("lora_B", module.up))
    }
    settings = {
        "unet.r": 4,
        "unet.lora_alpha": 3.0,
        "unet.target_modules": sorted(adapter.modules),
        "unet.rank_pattern": {path: module.rank for path, module in adapter.modules.items() if module.rank != 4},
        "unet.alpha_pattern": {
            path: adapter.alpha_of(module) for path, module in adapter.modules.items() if module.rank != 4
        },
    }
    file = tmp_path / "theirs.safetensors"
    save_file(tensors, file, {"lora_adapter_metadata": json.dumps(settings), "format": "pt"})
    loaded = open_pipeline(tiny_base)
    loaded.load_lora_weights(str(tmp_path), weight_name=file.name)
    ours = adapters_in(open_weights(file))["denoiser"]
    assert_same({f"denoiser.{path}": module.change() for path, module in ours.items()}, changes_in(loaded))
    del pipeline


@pytest.mark.parametrize("file", [DIFFUSERS, KOHYA])
def test_half_precision_rounds_and_is_not_refused(
    trained: Trained, tiny_base: Path, tmp_path: Path, rows: NewTokenRows, info: ExportInfo, file: str
) -> None:
    _, weights = trained("lora", block_ranks=RANKS)
    write_exports(tmp_path, in_precision(weights, torch.float16), rows=rows, info=info)
    found, wanted = loaded_changes(tiny_base, tmp_path / file), wanted_changes(weights)
    assert found.keys() == wanted.keys()
    assert max(relative(found[name], wanted[name]) for name in wanted) < 2e-3
