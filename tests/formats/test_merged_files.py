"""What `lorasmith merge` writes is read by diffusers as the merge that was meant, alone and inside a base."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from merging import assert_same, loaded_changes

from lorasmith.config.base import ModelConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Event, Notice
from lorasmith.export import AdapterKind, AdapterWeights, ExportInfo, NewTokenRows, PartAdapter, write_exports
from lorasmith.export_manifest import read_manifest
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.exports import load_concept
from lorasmith.inference.pipeline import open_pipeline
from lorasmith.merging.zip_fit import ZipSettings
from lorasmith.runs.merge import MergeRequest, MergeResult, merge
from lorasmith.runs.merge_sources import WeightedSource
from lorasmith.testing import pictures

Trained = Callable[..., tuple[Any, AdapterWeights]]
Parents = Callable[..., tuple[Path, Path]]
CPU = torch.device("cpu")


@pytest.fixture
def parents(trained: Trained, rows: NewTokenRows, info: ExportInfo, tiny_base: Path, tmp_path: Path) -> Parents:
    """Two exports of one base, both saying TOK and <s0><s1>, of unequal rank and strength."""

    def write(kind: AdapterKind = "lora") -> tuple[Path, Path]:
        _, weights = trained(kind)
        other = NewTokenRows(tuple(replace(one, text_encoder_1=-one.text_encoder_1) for one in rows.concepts))
        folders = tmp_path / "dog", tmp_path / "style"
        said = replace(info, base=str(tiny_base))
        write_exports(folders[0], weights, rows=rows, info=replace(said, name="dog"))
        write_exports(folders[1], turned(weights), rows=other, info=replace(said, name="style"))
        return folders

    return write


def turned(weights: AdapterWeights) -> AdapterWeights:
    """Another adapter: rows in another order, half as strong, in the denoiser alone."""
    denoiser = weights.parts["denoiser"]
    modules = {
        path: replace(module, down=module.down.flip(1)[:3], up=module.up[:, :3] / 2)
        for path, module in denoiser.modules.items()
    }
    return AdapterWeights({"denoiser": PartAdapter(modules, 3, 3.0, denoiser.kind)}, weights.layers_per_block)


def request(sources: Sequence[Path | str], output: Path, tiny_base: Path, **changed: Any) -> MergeRequest:
    """On the tiny base."""
    named = tuple(WeightedSource.said(str(one)) for one in sources)
    asked: dict[str, Any] = {"base": str(tiny_base), "device": "cpu", **changed}
    return MergeRequest(named, output, **asked)


def file_of(result: MergeResult, format: str) -> Path:  # reads best so
    """The merge's file for diffusers or for WebUIs."""
    folder = result.merges[0].folder
    return folder / ("pytorch_lora_weights.safetensors" if format == "diffusers" else f"{folder.name}.safetensors")


@pytest.mark.parametrize("method", ["sum", "concat"])
@pytest.mark.parametrize("format", ["diffusers", "webui"])
def test_diffusers_reads_the_weighted_sum_of_both_files(
    parents: Parents, tiny_base: Path, tmp_path: Path, method: str, format: str
) -> None:
    dog, style = parents()
    result = merge(request([f"{dog}:0.8", f"{style}:1.5"], tmp_path / "both", tiny_base, methods=(method,)))
    first, second = (loaded_changes(tiny_base, one / "pytorch_lora_weights.safetensors") for one in (dog, style))
    wanted = {name: 0.8 * change + 1.5 * second.get(name, torch.zeros(())) for name, change in first.items()}
    assert_same(loaded_changes(tiny_base, file_of(result, format)), wanted)


def test_a_webui_file_is_as_good_a_parent_as_a_diffusers_file(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    dog, style = parents()
    one = merge(request([dog, style], tmp_path / "one", tiny_base))
    other = merge(request([dog / "dog.safetensors", style / "style.safetensors"], tmp_path / "other", tiny_base))
    assert_same(*(loaded_changes(tiny_base, file_of(result, "diffusers")) for result in (one, other)))


def test_concepts_of_one_word_are_kept_apart_and_the_card_says_how(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    dog, style = parents()
    told = list[Event]()
    merge(request([dog, style], tmp_path / "both", tiny_base), told.append)
    manifest = read_manifest(tmp_path / "both")
    assert {word: concept.tokens for word, concept in manifest.abstractions.items()} == {
        "TOK": ("<s0>", "<s1>"),
        "TOK2": ("<s2>", "<s3>"),
    }
    card = (tmp_path / "both" / "README.md").read_text()
    assert "- dog, weight 1, now said as `TOK`; its file's sha256 is `" in card
    assert "- style, weight 1, now said as `TOK2`" in card
    assert "`<s2><s3>`" in card
    assert "merged with lorasmith" in card
    assert "Steps:" not in card
    assert any("TOK of style is now TOK2" in event.text for event in told if isinstance(event, Notice))
    pipeline = open_pipeline(ModelConfig(base=str(tiny_base)), device=CPU, dtype=torch.float32)
    vocabulary = load_concept(pipeline, tmp_path / "both")
    assert vocabulary.expand("a TOK in TOK2 style") == "a <s0><s1> in <s2><s3> style"


def test_the_same_merge_twice_is_the_same_bytes(parents: Parents, tiny_base: Path, tmp_path: Path) -> None:
    made = [
        merge(request(parents(), tmp_path / folder / "both", tiny_base, methods=("dare",), seed=4))
        for folder in ("a", "b")
    ]
    first, second = ({file.path.name: file.path.read_bytes() for file in one.merges[0].files} for one in made)
    assert first == second


def test_several_methods_have_a_folder_each(parents: Parents, tiny_base: Path, tmp_path: Path) -> None:
    result = merge(request(parents(), tmp_path / "all", tiny_base, methods=("svd", "ties", "null-space")))
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["null-space", "svd", "ties"]
    assert [one.folder.name for one in result.merges] == ["svd", "ties", "null-space"]
    assert result.merges[0].lost > 0
    for one in result.merges:
        read_manifest(one.folder)


def test_a_dora_is_baked_and_what_that_lost_is_said(parents: Parents, tiny_base: Path, tmp_path: Path) -> None:
    dog, style = parents("dora")
    told = list[Event]()
    result = merge(request([dog, style], tmp_path / "both", tiny_base, bake_rank=64), told.append)
    first, second = (loaded_changes(tiny_base, one / "pytorch_lora_weights.safetensors") for one in (dog, style))
    wanted = {name: change + second.get(name, torch.zeros(())) for name, change in first.items()}
    assert_same(loaded_changes(tiny_base, file_of(result, "diffusers")), wanted)
    assert any("dog is a DoRA and was baked" in event.text for event in told if isinstance(event, Notice))


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_a_base_with_a_merge_in_it_draws_as_the_base_with_the_adapter(
    parents: Parents, tiny_base: Path, tmp_path: Path, kind: AdapterKind
) -> None:
    dog, _ = parents(kind)
    place = tmp_path / "dog-base"
    result = merge(request([dog], tmp_path / "one", tiny_base, into_base=place))
    assert result.base == place
    wanted = drawn(tiny_base, dog)
    assert difference(drawn(place, None), wanted) <= 1  # of 255: rounding
    assert difference(drawn(tiny_base, None, "a photo of a cat"), wanted) > 8


def test_any_program_pools_the_bases_new_tokens_at_the_end_of_text(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    place = tmp_path / "both-base"
    merge(request(parents(), tmp_path / "both", tiny_base, into_base=place))
    from diffusers import StableDiffusionXLPipeline

    pipeline: Any = StableDiffusionXLPipeline.from_pretrained(place)
    for tokenizer, encoder in (
        (pipeline.tokenizer, pipeline.text_encoder),
        (pipeline.tokenizer_2, pipeline.text_encoder_2),
    ):
        ids = tokenizer("a <s0><s1> in <s2><s3> style").input_ids
        assert max(ids) == len(tokenizer) - 1 == encoder.get_input_embeddings().num_embeddings - 1
        assert encoder.config.eos_token_id == tokenizer.eos_token_id


def test_one_file_holds_the_merge_in_sgms_names(
    parents: Parents, tiny_base: Path, tiny_as_sdxl: None, tmp_path: Path
) -> None:
    dog, _ = parents()
    place = tmp_path / "dog-base.safetensors"
    merge(request([dog], tmp_path / "one", tiny_base, into_base=place))
    wanted = drawn(tiny_base, dog, "a photo of a dog")
    assert difference(drawn(place, None, "a photo of a dog"), wanted) <= 1


def test_one_file_of_a_base_that_is_not_laid_out_as_sdxl_is_refused(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match="not laid out as SDXL"):
        merge(request(parents(), tmp_path / "both", tiny_base, into_base=tmp_path / "base.safetensors"))
    assert not (tmp_path / "both").exists()


def test_zip_trains_on_the_base_and_is_written_as_an_ordinary_lora(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    folders = [tmp_path / "dogs", tmp_path / "styles"]
    for number, folder in enumerate(folders):
        pictures(folder, 2, captions=[f"a TOK {number}", "a TOK"])
    dog, style = parents()
    asked = request(
        [f"{dog}:0.9", style], tmp_path / "both", tiny_base, methods=("zip",), instance_images=tuple(folders),
        zip=ZipSettings(steps=3, batch_size=2, similarity_weight=0.01),
    )  # fmt: skip
    result = merge(asked)
    made = result.merges[0]
    assert len(made.terms) == 3
    assert made.terms[0].similarity > made.terms[-1].similarity
    found = loaded_changes(tiny_base, file_of(result, "webui"))
    first, second = (loaded_changes(tiny_base, one / "pytorch_lora_weights.safetensors") for one in (dog, style))
    for name, change in found.items():
        plain = 0.9 * first[name] + second.get(name, torch.zeros(()))
        moved = (change - plain).norm() / plain.norm()
        # Mergers moved by 3 steps of 0.01 at most; text encoders are added up.
        assert moved < 0.06 if name.startswith("denoiser") else moved < 1e-5


def test_zip_without_pictures_says_where_they_come_from(parents: Parents, tiny_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"instance images of dog and style are not known.*--instance-images"):
        merge(request(parents(), tmp_path / "both", tiny_base, methods=("zip",)))
    assert not (tmp_path / "both").exists()


def test_adapters_of_different_bases_are_refused_unless_a_base_is_named(
    parents: Parents, tiny_base: Path, tmp_path: Path
) -> None:
    dog, style = parents()
    manifest = style / "lorasmith.json"
    manifest.write_text(manifest.read_text().replace(tiny_base.name, "another/base"))
    with pytest.raises(DataError, match=r"dog was trained on .* and style on another/base.*--base"):
        merge(replace(request([dog, style], tmp_path / "both", tiny_base), base=None))
    assert not (tmp_path / "both").exists()
    merge(request([dog, style], tmp_path / "both", tiny_base))


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        ({"rank": 0}, "rank 0"),
        ({"energy": 1.5}, "energy 1.5"),
        ({"density": 0.0}, "density 0.0"),
        ({"strength": -1.0}, "strength -1.0"),
        ({"protect": 3}, "adapter number 3"),
        ({"methods": ()}, "methods none"),
        ({"instance_images": (Path("one"),)}, "1 folder of pictures"),
    ],
)
def test_values_that_nothing_can_be_merged_with_are_refused(
    parents: Parents, tiny_base: Path, tmp_path: Path, changed: dict[str, Any], wrong: str
) -> None:
    with pytest.raises(ConfigError, match=wrong):
        merge(request([tmp_path / "a", tmp_path / "b"], tmp_path / "both", tiny_base, **changed))


def test_a_folder_with_something_in_it_is_never_written_to(parents: Parents, tiny_base: Path, tmp_path: Path) -> None:
    dog, style = parents()
    with pytest.raises(ConfigError, match="holds something already"):
        merge(request([dog, style], dog, tiny_base))


def drawn(base: Path, export: Path | None, prompt: str = "a photo of <s0><s1>") -> np.ndarray:
    """One picture by a base, with an export or without."""
    pipeline = open_pipeline(ModelConfig(base=str(base)), device=CPU, dtype=torch.float32)
    if export is not None:
        load_concept(pipeline, export)
    [picture] = draw(pipeline, [DrawRequest(prompt, 3, settings=DrawSettings(steps=3))])
    return np.asarray(picture).astype(int)


def difference(one: np.ndarray, other: np.ndarray) -> int:
    """The largest difference of two pictures' numbers, of 255."""
    return int(np.abs(one - other).max())
