# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' modules are only partly typed.
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from lorasmith.errors import DataError
from lorasmith.export_manifest import ConceptFile, ExportManifest, is_export_folder, read_manifest, write_manifest
from lorasmith.inference.exports import load_concept
from lorasmith.testing import tiny_pipeline
from lorasmith.testing.random_export import LORA_FILE, random_export

TWO = {"TOK": ("<s0>", "<s1>"), "TOK2": ("<s2>",)}


@pytest.fixture
def export(tmp_path: Path, tiny_base: Path) -> Path:
    return random_export(tmp_path / "export", tiny_base, abstractions=TWO)


def rows_of(pipeline: Any, number: str, token: str) -> torch.Tensor:
    tokenizer, encoder = getattr(pipeline, f"tokenizer{number}"), getattr(pipeline, f"text_encoder{number}")
    return encoder.get_input_embeddings().weight[tokenizer.convert_tokens_to_ids(token)]


def test_each_new_token_gets_its_own_row_in_both_encoders(open_tiny: Callable[[], Any], export: Path) -> None:
    pipeline = open_tiny()
    load_concept(pipeline, export)
    for word, tokens in TWO.items():
        written = load_file(export / f"{word}_emb.safetensors")
        for index, token in enumerate(tokens):
            assert torch.equal(rows_of(pipeline, "", token), written["clip_l"][index])
            assert torch.equal(rows_of(pipeline, "_2", token), written["clip_g"][index])


def test_no_rows_are_made_up_from_the_tables_covariance_first(
    open_tiny: Callable[[], Any], export: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On real SDXL that takes seconds, says so on the terminal, and every made-up row is overwritten."""

    def made_up(*_: object) -> None:
        raise AssertionError("rows were made up")

    monkeypatch.setattr("transformers.PreTrainedModel._init_added_embeddings_weights_with_mean", made_up)
    load_concept(open_tiny(), export)


def test_words_the_base_knew_keep_their_rows(open_tiny: Callable[[], Any], export: Path) -> None:
    pipeline = open_tiny()
    before = pipeline.text_encoder_2.get_input_embeddings().weight.clone()
    load_concept(pipeline, export)
    assert torch.equal(pipeline.text_encoder_2.get_input_embeddings().weight[: len(before)], before)


def test_prompts_are_written_out_for_several_concepts(open_tiny: Callable[[], Any], export: Path) -> None:
    vocabulary = load_concept(open_tiny(), export)
    assert vocabulary.expand("TOK2 beside TOK, no TOKEN") == "<s2> beside <s0><s1>, no TOKEN"


def test_the_adapter_is_in_the_denoiser(open_tiny: Callable[[], Any], export: Path) -> None:
    pipeline = open_tiny()
    load_concept(pipeline, export)
    written = load_file(export / LORA_FILE)
    loaded = {name: value for name, value in pipeline.unet.state_dict().items() if "lora_" in name}
    assert len(loaded) == len(written)
    assert sum(float(value.double().sum()) for value in loaded.values()) == pytest.approx(
        sum(float(value.double().sum()) for value in written.values())
    )


def test_an_export_of_tokens_alone_is_loaded(open_tiny: Callable[[], Any], export: Path) -> None:
    concept = ConceptFile(tokens=("<s0>", "<s1>"), file="TOK_emb.safetensors")
    write_manifest(export, ExportManifest(base="tiny", lora=None, abstractions={"TOK": concept}))
    pipeline = open_tiny()
    load_concept(pipeline, export)
    assert rows_of(pipeline, "", "<s1>").shape == (32,)
    assert not [name for name in pipeline.unet.state_dict() if "lora_" in name]


def test_an_export_of_another_base_is_refused(tiny_base: Path, tmp_path: Path, open_tiny: Callable[[], Any]) -> None:
    other = tiny_pipeline(tmp_path / "other", layers_per_block=1)
    export = random_export(tmp_path / "export", tiny_base, abstractions={})
    for path in (export, random_export(tmp_path / "export2", other, abstractions={})):
        tensors = {
            name: value[:, :3] if "lora_A" in name else value for name, value in load_file(path / LORA_FILE).items()
        }
        save_file({name: value.contiguous() for name, value in tensors.items()}, path / LORA_FILE)
        with pytest.raises(DataError, match="does not fit the base"):
            load_concept(open_tiny(), path)


def test_an_adapter_of_which_nothing_fits_is_refused(export: Path, open_tiny: Callable[[], Any]) -> None:
    save_file(
        {"unet.nowhere.lora_A.weight": torch.ones(4, 4), "unet.nowhere.lora_B.weight": torch.ones(4, 4)},
        export / LORA_FILE,
    )
    with pytest.raises(DataError, match="does not fit the base"):
        load_concept(open_tiny(), export)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ({"clip_l": torch.zeros(2, 32)}, "there is no clip_g"),
        ({"clip_l": torch.zeros(3, 32), "clip_g": torch.zeros(2, 48)}, "3×32 where .* want 2×32"),
        ({"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}, "2×768 where .* want 2×32"),
        ({"clip_l": torch.zeros(2, 32), "clip_g": torch.full((2, 48), torch.nan)}, "clip_g in .* not finite"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(
    export: Path, open_tiny: Callable[[], Any], rows: dict[str, torch.Tensor], said: str
) -> None:
    save_file(rows, export / "TOK_emb.safetensors")
    with pytest.raises(DataError, match=said):
        load_concept(open_tiny(), export)


@pytest.mark.parametrize("name", ["TOK_emb.safetensors", LORA_FILE])
def test_a_pickle_under_a_safetensors_name_is_refused_unopened(
    export: Path, open_tiny: Callable[[], Any], name: str
) -> None:
    torch.save({"clip_l": torch.zeros(2, 32)}, export / name)
    with pytest.raises(DataError, match="is not a readable safetensors file"):
        load_concept(open_tiny(), export)


def test_a_token_the_base_knows_is_refused(export: Path, open_tiny: Callable[[], Any]) -> None:
    concept = ConceptFile(tokens=("<|endoftext|>", "<s1>"), file="TOK_emb.safetensors")
    write_manifest(export, ExportManifest(base="tiny", abstractions={"TOK": concept}))
    with pytest.raises(DataError, match="already knows"):
        load_concept(open_tiny(), export)


def test_a_manifest_survives_being_written_and_read(tmp_path: Path) -> None:
    manifest = ExportManifest(base="embedded", lora=None, recommended_scale=0.8, revision="main")
    assert not is_export_folder(tmp_path)
    write_manifest(tmp_path, manifest)
    assert is_export_folder(tmp_path)
    assert read_manifest(tmp_path) == manifest


@pytest.mark.parametrize("name", ["../secret.safetensors", "/etc/x.safetensors", "a\\b.safetensors", "weights.bin", ""])
def test_a_manifest_cannot_name_files_outside_its_folder(name: str) -> None:
    with pytest.raises(ValidationError, match="is not the bare name of a safetensors file"):
        ExportManifest(base="embedded", lora=name)


def test_a_word_with_terminal_escapes_is_refused() -> None:
    with pytest.raises(ValidationError, match="printable"):
        ExportManifest(base="x", abstractions={"\x1b[31mTOK": ConceptFile(tokens=("<s0>",), file="a.safetensors")})


def test_two_abstractions_cannot_share_a_token() -> None:
    concept = ConceptFile(tokens=("<s0>",), file="a.safetensors")
    with pytest.raises(ValidationError, match="named twice"):
        ExportManifest(base="x", abstractions={"A": concept, "B": concept})


@pytest.mark.parametrize(
    ("content", "said"), [("{", "Invalid JSON"), ('{"version": 2, "base": "x"}', "version"), ("{}", "base")]
)
def test_a_manifest_that_cannot_be_read_says_what_is_wrong(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "lorasmith.json").write_text(content)
    with pytest.raises(DataError, match=said):
        read_manifest(tmp_path)


def test_files_a_manifest_names_must_be_there(export: Path) -> None:
    (export / LORA_FILE).unlink()
    with pytest.raises(DataError, match=rf"lacks {LORA_FILE}"):
        read_manifest(export)


def test_an_adapter_of_the_denoiser_alone_is_loaded_without_alarm(
    export: Path, open_tiny: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    load_concept(open_tiny(), export)
    assert not caplog.records
