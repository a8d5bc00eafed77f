"""What `inspect` says of a file is what is in it."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUnknownMemberType=false

import json
from pathlib import Path

import pytest
import torch
from made_loras import SPELLINGS, Lora, kohya
from safetensors.torch import save_file

from lorasmith.cli.app import main
from lorasmith.errors import DataError
from lorasmith.formats.inspection import inspect

SDXL = {"ss_base_model_version": "sdxl_base_v1-0"}


def test_a_whole_file_has_no_problems_and_its_norms_are_those_of_its_changes(lora: Lora, tmp_path: Path) -> None:
    save_file(kohya(lora), tmp_path / "a.safetensors", SDXL)
    found = inspect(tmp_path / "a.safetensors")
    assert (found.format, found.family.name, found.a1111_thinks, found.kind) == ("kohya", "SDXL", "SDXL", "lora")
    assert (found.problems, found.broken, found.precisions) == ((), False, ("fp32",))
    assert {(one.ranks, one.alphas) for one in found.blocks} == {((4,), (2.0,))}
    by_block = {f"{one.part} {one.block}": one for one in found.blocks}
    change = lora["denoiser", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"].change() / 2
    assert by_block["denoiser down_blocks.1.attentions.0"].norm == pytest.approx(
        float(torch.linalg.vector_norm(change)), rel=1e-5
    )
    assert [one.block for one in found.blocks][-1] == "layers"


def test_what_is_wrong_is_named(lora: Lora, tmp_path: Path) -> None:
    tensors = kohya(lora)
    first = next(name for name in tensors if name.endswith("lora_up.weight"))
    tensors[first] = torch.zeros_like(tensors[first])
    tensors = {name: tensor for name, tensor in tensors.items() if "te1" not in name or not name.endswith("alpha")}
    last = next(name for name in tensors if "te2" in name and name.endswith("down.weight"))
    tensors[last] = tensors[last].half()
    save_file(tensors, tmp_path / "a.safetensors", {"ss_output_name": "x"})
    found = inspect(tmp_path / "a.safetensors")
    said = " / ".join(found.problems)
    assert not found.broken
    for part in ("1 layer of 7 without effect", "1 layer without alpha", "Stable Diffusion 1", "fp16, fp32"):
        assert part in said


def test_numbers_that_are_not_finite_and_files_without_effect_are_broken(lora: Lora, tmp_path: Path) -> None:
    tensors = kohya(lora)
    name = next(iter(tensors))
    save_file(tensors | {name: torch.full_like(tensors[name], torch.nan)}, tmp_path / "nan.safetensors", SDXL)
    found = inspect(tmp_path / "nan.safetensors")
    assert found.broken
    assert "not finite" in found.problems[0]
    assert None in [block["norm"] for block in json.loads(json.dumps(found.as_json(), allow_nan=False))["blocks"]]
    zero = {name: torch.zeros_like(tensor) if "up" in name else tensor for name, tensor in tensors.items()}
    save_file(zero, tmp_path / "zero.safetensors", SDXL)
    assert "changes nothing" in inspect(tmp_path / "zero.safetensors").problems[0]


OTHERS = {
    "Stable Diffusion 1": ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 320, 768),
    "Stable Diffusion 2": ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k", 320, 1024),
    "SDXL refiner": ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k", 768, 1280),
    "Flux": ("lora_unet_double_blocks_0_img_attn_proj", 3072, 3072),
    "Stable Diffusion 3": ("lora_unet_joint_blocks_0_context_block_attn_proj", 1536, 1536),
}


@pytest.mark.parametrize("family", OTHERS)
def test_other_families_are_told_by_shape_whatever_the_metadata_says(family: str, tmp_path: Path) -> None:
    name, outputs, inputs = OTHERS[family]
    halves = {f"{name}.lora_down.weight": torch.ones(2, inputs), f"{name}.lora_up.weight": torch.ones(outputs, 2)}
    save_file(halves, tmp_path / "a.safetensors", SDXL)
    found = inspect(tmp_path / "a.safetensors")
    assert (found.family.name, found.a1111_thinks, found.broken) == (family, "SDXL", True)
    assert family in found.problems[0]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_is_told_to_be_sdxl(spelling: str, lora: Lora, tmp_path: Path) -> None:
    save_file(SPELLINGS[spelling](lora), tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert (found.format, found.family.name, sum(one.layers for one in found.blocks)) == (spelling, "SDXL", 7)


def test_embeddings_and_bundles_are_counted(lora: Lora, tmp_path: Path) -> None:
    rows = {"clip_l": torch.ones(3, 768), "clip_g": torch.ones(3, 1280)}
    save_file(rows, tmp_path / "e.safetensors")
    (alone,) = inspect(tmp_path / "e.safetensors").embeddings
    assert (alone.name, alone.tokens, alone.widths) == (None, 3, (768, 1280))
    assert alone.row_norms[0] == pytest.approx(768**0.5)
    bundled = {f"bundle_emb.wolf.{key}": tensor for key, tensor in rows.items()}
    save_file(kohya(lora) | bundled, tmp_path / "b.safetensors", SDXL)
    found = inspect(tmp_path / "b.safetensors")
    assert (found.embeddings[0].name, found.embeddings[0].tokens) == ("wolf", 3)
    assert sum(one.layers for one in found.blocks) == 7
    save_file({"clip_g": torch.ones(3, 1280)}, tmp_path / "half.safetensors")
    with pytest.raises(DataError, match="one text encoder only"):
        inspect(tmp_path / "half.safetensors")


def test_other_methods_are_named(tmp_path: Path) -> None:
    name = "lora_unet_input_blocks_4_1_transformer_blocks_0_attn1_to_q"
    save_file({f"{name}.hada_w1_a": torch.ones(2, 2), f"{name}.alpha": torch.ones(())}, tmp_path / "a.safetensors")
    found = inspect(tmp_path / "a.safetensors")
    assert (found.methods, found.format, found.broken) == (("LoHa",), None, True)


def test_the_command_draws_a_bar_for_each_block_and_shows_no_escapes(
    lora: Lora, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_file(kohya(lora), tmp_path / "a.safetensors", SDXL | {"ss_output_name": "\x1b[31mred\x1b]0;x\x07"})
    with pytest.raises(SystemExit) as left:
        main(["inspect", str(tmp_path / "a.safetensors")])
    assert left.value.code == 0
    said = capsys.readouterr().out
    assert "denoiser down_blocks.2.attentions.1" in said
    assert said.count("█") > 20
    assert "\x1b" not in said
    with pytest.raises(SystemExit):
        main(["inspect", "--json", str(tmp_path / "a.safetensors")])
    (data,) = json.loads(capsys.readouterr().out)
    assert (data["format"], data["family"]["name"], data["problems"]) == ("kohya", "SDXL", [])
