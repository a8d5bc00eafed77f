"""What stands in exported files: headers, bytes, magnitudes, rows; and what is refused when they are read back."""

# diffusers and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lorasmith.errors import DataError, DivergedError
from lorasmith.export import (
    AdapterKind,
    AdapterWeights,
    ConceptRows,
    ExportInfo,
    ModuleAdapter,
    NewTokenRows,
    PartAdapter,
    inspect_file,
    verify_exports,
    write_exports,
)
from lorasmith.export_manifest import read_manifest

Trained = Callable[[AdapterKind], tuple[Any, AdapterWeights]]
KOHYA = "my-dog.safetensors"


def _header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        opened: Any = file
        return opened.metadata()


def _two_concepts() -> NewTokenRows:
    return NewTokenRows(
        (
            ConceptRows("TOK", ("<s0>", "<s1>"), torch.ones(2, 32), torch.ones(2, 48)),
            ConceptRows("TOK2", ("<s2>", "<s3>"), torch.zeros(2, 32), torch.zeros(2, 48)),
        )
    )


def test_webuis_see_an_sdxl_lora_with_its_size_words_and_hash(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    header = _header(tmp_path / KOHYA)
    assert header["ss_base_model_version"] == "sdxl_base_v1-0"
    assert header["ss_network_module"] == "networks.lora"
    assert (header["ss_network_dim"], header["ss_network_alpha"]) == ("4", "3.0")
    assert (header["ss_output_name"], header["ss_steps"], header["ss_optimizer"]) == ("my-dog", "40", "prodigy")
    assert json.loads(header["ss_tag_frequency"]) == {
        "my-dog": {"a photo of my-dog_emb": 2, "in snow": 1, "on grass": 1}
    }
    assert header["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    assert header["modelspec.sai_model_spec"] == "1.0.1"
    assert (header["modelspec.resolution"], header["modelspec.prediction_type"]) == ("64x64", "epsilon")
    assert header["modelspec.trigger_phrase"] == "a photo of my-dog_emb"
    content = (tmp_path / KOHYA).read_bytes()
    body = content[8 + int.from_bytes(content[:8], "little") :]
    assert header["sshs_model_hash"] == hashlib.sha256(body).hexdigest()
    assert all(isinstance(value, str) for value in header.values())


def test_a_v_prediction_base_is_said_to_be_one(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=replace(info, prediction_type="v_prediction"))
    assert _header(tmp_path / KOHYA)["modelspec.prediction_type"] == "v"


def test_tag_counts_are_capped(tmp_path: Path, rows: NewTokenRows, trained: Trained, info: ExportInfo) -> None:
    _, weights = trained("lora")
    many = tuple(f"tag {number}, common, {'x' * 500}" for number in range(300))
    write_exports(tmp_path, weights, rows=rows, info=replace(info, captions=many))
    (counts,) = json.loads(_header(tmp_path / KOHYA)["ss_tag_frequency"]).values()
    assert len(counts) == 100
    assert counts["common"] == 300
    assert max(len(tag) for tag in counts) == 100


def test_two_equal_exports_are_equal_to_the_byte(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    folders = (tmp_path / "a", tmp_path / "b")
    for folder in folders:
        write_exports(folder, trained("dora")[1], rows=rows, info=info)
    names = sorted(path.name for path in folders[0].iterdir())
    assert len(names) == 5
    assert names == sorted(path.name for path in folders[1].iterdir())
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_no_file_says_where_or_when_it_was_made(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    local = replace(info, base="/home/someone/models/my-base")
    for file in write_exports(tmp_path, weights, rows=rows, info=local):
        text = file.path.read_bytes().decode(errors="ignore")
        assert "/home" not in text
        assert "someone" not in text
        assert str(tmp_path) not in text
        assert not re.search(r"20\d\d-\d\d-\d\d|\d\d:\d\d:\d\d", text), file.path
    assert _header(tmp_path / KOHYA)["ss_sd_model_name"] == "my-base"
    names = " ".join(_header(tmp_path / KOHYA))
    assert not re.search(r"date|time|session|started|finished", names)


def test_magnitudes_are_one_column_for_webuis(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("dora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    tensors = load_file(tmp_path / KOHYA)
    scales = {name: tensor for name, tensor in tensors.items() if name.endswith(".dora_scale")}
    assert len(scales) == sum(len(adapter.modules) for adapter in weights.parts.values())
    path = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    magnitude = weights.parts["denoiser"].modules[path].magnitude
    assert magnitude is not None
    scale = scales["lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.dora_scale"]
    assert scale.shape == (32, 1)
    assert torch.equal(scale[:, 0], magnitude)
    assert not any("magnitude" in name for name in tensors)
    assert inspect_file(tmp_path / KOHYA).kind == "dora"


def test_each_concept_has_its_own_embeddings_file(tmp_path: Path, trained: Trained, info: ExportInfo) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=_two_concepts(), info=replace(info, instance_prompt="TOK and TOK2"))
    first, second = (load_file(tmp_path / f"my-dog_{word}_emb.safetensors") for word in ("TOK", "TOK2"))
    assert {name: tuple(rows.shape) for name, rows in first.items()} == {"clip_l": (2, 32), "clip_g": (2, 48)}
    assert first["clip_l"].all()
    assert not second["clip_g"].any()
    assert read_manifest(tmp_path).abstractions["TOK2"].file == "my-dog_TOK2_emb.safetensors"
    assert _header(tmp_path / KOHYA)["modelspec.trigger_phrase"] == "my-dog_TOK_emb and my-dog_TOK2_emb"


def test_new_tokens_alone_are_exported_without_lora_files(tmp_path: Path, rows: NewTokenRows, info: ExportInfo) -> None:
    written = write_exports(tmp_path, AdapterWeights({}), rows=rows, info=info)
    assert [file.path.name for file in written] == ["my-dog_emb.safetensors", "lorasmith.json", "README.md"]
    assert read_manifest(tmp_path).lora is None
    assert "load_lora_weights" not in (tmp_path / "README.md").read_text()


def test_a_name_of_any_kind_gives_tame_file_names(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    folder = tmp_path / "export"
    write_exports(folder, weights, rows=rows, info=replace(info, name="../../etc/mein Hünd\x1b[31m <s0>"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["export"]
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", path.name) for path in folder.iterdir())


def test_files_read_back_say_what_they_hold(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    counts = {part: len(adapter.modules) for part, adapter in weights.parts.items()}
    for name in ("pytorch_lora_weights.safetensors", KOHYA):
        report = inspect_file(tmp_path / name)
        assert (report.kind, report.ranks, report.layers) == ("lora", (3, 4), counts)
        assert (report.layers_without_effect, report.problems) == (0, ())
    assert inspect_file(tmp_path / KOHYA).alphas == (1.0, 3.0)
    assert inspect_file(tmp_path / "my-dog_emb.safetensors").new_tokens == 2


def test_reading_back_notices_each_kind_of_damage(
    tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo
) -> None:
    _, weights = trained("lora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    path = tmp_path / KOHYA
    good = load_file(path)
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
    damages: dict[str, dict[str, torch.Tensor]] = {
        "differs in denoiser.mid_block": good | {f"{name}.lora_up.weight": good[f"{name}.lora_up.weight"] * 1.00001},
        "alpha": good | {f"{name}.alpha": torch.tensor(4.0)},
        "lacks denoiser.mid_block": {key: tensor for key, tensor in good.items() if not key.startswith(name)},
        "one half": {key: tensor for key, tensor in good.items() if key != f"{name}.lora_up.weight"},
    }
    for reason, tensors in damages.items():
        save_file(tensors, path)
        with pytest.raises(DataError, match="differs" if reason == "alpha" else reason):
            verify_exports([path], weights, NewTokenRows())
    save_file({"clip_l": torch.zeros(2, 32), "clip_g": torch.zeros(2, 48)}, tmp_path / "my-dog_emb.safetensors")
    with pytest.raises(DataError, match="rows of TOK"):
        verify_exports([tmp_path / "my-dog_emb.safetensors"], weights, rows)


def test_zero_and_broken_weights_are_problems_of_a_file(tmp_path: Path) -> None:
    name = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"
    tensors = {f"{name}.lora_down.weight": torch.ones(2, 8), f"{name}.lora_up.weight": torch.zeros(8, 2)}
    save_file(tensors, tmp_path / "zero.safetensors")
    save_file(tensors | {f"{name}.lora_up.weight": torch.full((8, 2), torch.nan)}, tmp_path / "nan.safetensors")
    assert "changes nothing" in " ".join(inspect_file(tmp_path / "zero.safetensors").problems)
    assert "not finite" in " ".join(inspect_file(tmp_path / "nan.safetensors").problems)


def test_a_header_that_lies_about_its_numbers_is_no_crash(tmp_path: Path) -> None:
    name = "unet.mid_block.attentions.0.proj_in"
    tensors = {f"{name}.lora_A.weight": torch.ones(2, 8), f"{name}.lora_B.weight": torch.ones(8, 2)}
    for said in ("[1]", '{"unet.r": 0, "unet.lora_alpha": "four"}', '{"unet.r": -1, "unet.lora_alpha": NaN}'):
        save_file(tensors, tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": said})
        assert inspect_file(tmp_path / "x.safetensors").alphas == (2.0,)
    save_file(tensors, tmp_path / "x.safetensors", metadata={"lora_adapter_metadata": "{"})
    with pytest.raises(DataError, match="not JSON"):
        inspect_file(tmp_path / "x.safetensors")


def test_truncated_foreign_and_pickled_files_are_refused_with_their_reason(
    tmp_path: Path, rows: NewTokenRows, info: ExportInfo
) -> None:
    write_exports(tmp_path, AdapterWeights({}), rows=rows, info=info)
    content = (tmp_path / "my-dog_emb.safetensors").read_bytes()
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(content[:-10])
    with pytest.raises(DataError, match="was cut short"):
        inspect_file(cut)
    torch.save({"clip_l": torch.zeros(1)}, tmp_path / "old.pt")
    with pytest.raises(DataError, match="is a pickle"):
        inspect_file(tmp_path / "old.pt")
    save_file({"model.weight": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="neither a LoRA nor an embeddings file"):
        inspect_file(tmp_path / "other.safetensors")
    with pytest.raises(DataError, match="cannot be read"):
        inspect_file(tmp_path / "missing.safetensors")


def test_weights_that_are_not_finite_or_not_there_are_refused_before_anything_is_written(
    tmp_path: Path, rows: NewTokenRows, info: ExportInfo
) -> None:
    module = ModuleAdapter(torch.full((2, 8), torch.inf), torch.zeros(8, 2))
    weights = AdapterWeights({"denoiser": PartAdapter({"mid_block.attentions.0.proj_in": module}, 2, 2.0)})
    with pytest.raises(DivergedError, match=r"mid_block\.attentions\.0\.proj_in"):
        write_exports(tmp_path / "export", weights, rows=rows, info=info)
    with pytest.raises(DataError, match="nothing to export"):
        write_exports(tmp_path / "export", AdapterWeights({}), rows=NewTokenRows(), info=info)
    assert not (tmp_path / "export").exists()
