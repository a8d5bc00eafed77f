"""A DoRA baked to plain LoRA: what it changes, what is lost, and what the readers would do without it."""

# diffusers, peft and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownLambdaType=false

import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers.utils import convert_state_dict_to_kohya
from merging import changes_in, loaded_changes, relative
from safetensors import safe_open
from safetensors.torch import load_file

from lorasmith.export import AdapterWeights, ExportInfo, ModuleAdapter, NewTokenRows, PartAdapter, bake, write_exports
from lorasmith.export.bake import dora_change

Trained = Callable[..., tuple[Any, AdapterWeights]]
DIFFUSERS, KOHYA, BAKED = "pytorch_lora_weights.safetensors", "my-dog.safetensors", "my-dog_baked.safetensors"


def parts_of(pipeline: Any) -> Any:
    return {
        "denoiser": pipeline.unet,
        "text_encoder_1": pipeline.text_encoder,
        "text_encoder_2": pipeline.text_encoder_2,
    }


@pytest.fixture
def exported(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> Callable[[int | None], tuple[Any, AdapterWeights, Path]]:
    def make(rank: int | None) -> tuple[Any, AdapterWeights, Path]:
        pipeline, weights = trained("dora")
        weights = replace(weights, baked=bake(weights, parts_of(pipeline), rank=rank))
        write_exports(tmp_path, weights, rows=rows, info=info)
        return pipeline, weights, tmp_path

    return make


@pytest.mark.parametrize("rank", [1, 6, 20, 1024])
def test_the_baked_file_is_off_by_what_it_says(
    exported: Callable[[int | None], tuple[Any, AdapterWeights, Path]], tiny_base: Path, rank: int
) -> None:
    pipeline, weights, folder = exported(rank)
    wanted, found = changes_in(pipeline), loaded_changes(tiny_base, folder / BAKED)
    assert found.keys() == wanted.keys()
    assert any(name.startswith("text_encoder_2") for name in found)
    baked = weights.baked
    assert baked is not None
    lost = {name.replace(".text_model.", "."): share for name, share in baked.errors.items()}
    for name, change in wanted.items():
        assert relative(found[name], change) == pytest.approx(lost[name], rel=1e-3, abs=1e-4)
    with safe_open(folder / BAKED, framework="pt") as file:
        opened: Any = file
        said = json.loads(opened.metadata()["lorasmith.baked"])
    changes, lost_changes = (
        torch.cat([change.flatten() for change in changes])
        for changes in (wanted.values(), [found[name] - change for name, change in wanted.items()])
    )
    assert said["error"] == pytest.approx((lost_changes.norm() / changes.norm()).item(), rel=1e-3, abs=1e-4)
    assert said["mean_error"] == pytest.approx(sum(lost.values()) / len(lost), abs=1e-6)
    assert said["worst_error"] == pytest.approx(max(lost.values()), abs=1e-6)
    assert baked.errors[said["worst_layer"]] == max(baked.errors.values())
    assert (said["worst_error"] < 1e-4) == (rank == 1024)


def test_a_higher_rank_loses_less_and_no_plain_lora_of_that_rank_loses_less(trained: Trained) -> None:
    pipeline, weights = trained("dora")
    weights = replace(weights, parts={"denoiser": weights.parts["denoiser"]})
    errors = [bake(weights, parts_of(pipeline), rank=rank).errors for rank in (2, 8, 16)]
    changes = changes_in(pipeline)
    for name in errors[0]:
        values = torch.linalg.svdvals(changes[name])
        for rank, found in zip((2, 8, 16), errors, strict=True):
            best = values[rank:].norm() / values.norm()
            assert found[name] == pytest.approx(best.item(), rel=1e-3, abs=2e-6)


def test_without_the_bake_the_same_reader_draws_something_else(
    exported: Callable[[int | None], tuple[Any, AdapterWeights, Path]],
    tiny_base: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """C-26: diffusers drops `dora_scale` from a kohya file, and says so; the default rank loses hardly anything."""
    pipeline, _, folder = exported(None)
    logging.getLogger("diffusers").propagate = True
    wanted = changes_in(pipeline)
    dropped = loaded_changes(tiny_base, folder / KOHYA)
    assert any("dora_scale" in record.message for record in caplog.records)
    baked, exact = (loaded_changes(tiny_base, folder / name) for name in (BAKED, DIFFUSERS))
    off = {
        name: sum(relative(found[layer], change) for layer, change in wanted.items()) / len(wanted)
        for name, found in (("dropped", dropped), ("baked", baked), ("exact", exact))
    }
    assert off["dropped"] > 0.1
    assert off["baked"] < 0.1 * off["dropped"]
    assert off["exact"] < 1e-5


def test_the_scripts_kohya_file_has_magnitudes_under_a_name_that_nobody_reads(
    exported: Callable[[int | None], tuple[Any, AdapterWeights, Path]],
) -> None:
    """C-26: what the script's converter makes of a DoRA, beside ours."""
    _, weights, folder = exported(None)
    theirs = convert_state_dict_to_kohya(load_file(folder / DIFFUSERS))
    ours = load_file(folder / KOHYA)
    layers = len(weights.parts["denoiser"].modules)
    in_theirs, in_ours = (
        [name for name in tensors if name.startswith("lora_unet") and name.endswith(".dora_scale")]
        for tensors in (theirs, ours)
    )
    assert (len(in_theirs), len(in_ours)) == (0, layers)
    assert sum("lora_magnitude_vector" in name for name in theirs if name.startswith("lora_unet")) == layers


def test_wide_layers_are_baked_nearly_as_well_as_possible_and_always_alike() -> None:
    """Above 256 the decomposition is approximate; a spectrum with a long flat tail is its hard case."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(320, 300, bias=False)
    holder: Any = torch.nn.Module()
    holder.get_base_layer = lambda: layer
    part: Any = torch.nn.Module()
    part.get_submodule = lambda path: holder
    down, up = torch.randn(4, 320) / 4, torch.randn(300, 4) * 0.1
    merged = layer.weight.detach() + up @ down
    magnitude = merged.norm(dim=1) * (1 + 0.5 * torch.randn(300)).abs()
    module = ModuleAdapter(down, up, magnitude)
    weights = AdapterWeights({"denoiser": PartAdapter({"x": module}, 4, 4.0, "dora")})
    first, second = (bake(weights, {"denoiser": part}, rank=24) for _ in range(2))
    values = torch.linalg.svdvals(dora_change(layer.weight.detach(), module))
    best = (values[24:].norm() / values.norm()).item()
    assert best > 0.1
    assert best <= first.errors["denoiser.x"] < 1.01 * best
    assert torch.equal(first.parts["denoiser"].modules["x"].up, second.parts["denoiser"].modules["x"].up)


def test_a_plain_lora_is_not_baked_and_has_no_such_file(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    assert not (tmp_path / BAKED).exists()


def test_the_card_says_which_file_to_load_where(
    exported: Callable[[int | None], tuple[Any, AdapterWeights, Path]],
) -> None:
    _, weights, folder = exported(6)
    card = (folder / "README.md").read_text()
    assert f"Put `{BAKED}` into `models/Lora`" in card
    assert f"Put `{BAKED}` into `models/loras`" in card
    assert "<lora:my-dog_baked:0.8>" in card
    assert f'weight_name="{DIFFUSERS}"' in card
    assert weights.baked is not None
    assert f"off by {100 * weights.baked.total_error:.1f} %" in card
    assert f"a layer by {100 * weights.baked.mean_error:.1f} % on average" in card
