# pyright: reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""Prompts that name LoRAs and embeddings in folders as A1111 and ComfyUI have them: what is drawn, what is said."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Event, Notice
from lorasmith.export.read import adapters_in, open_weights
from lorasmith.formats.embeddings_format import bundled_tensors
from lorasmith.formats.kohya_format import kohya_tensors
from lorasmith.formats.weights import AdapterWeights, PartAdapter
from lorasmith.runs.generate import GenerateRequest, GenerateResult, generate
from lorasmith.testing import tiny_pipeline
from lorasmith.testing.random_export import random_export


@dataclass(frozen=True)
class Shelf:
    """A base, an export made on it, and folders with files of other names."""

    base: Path
    export: Path
    webui: Path

    @property
    def lora(self) -> Path:
        return self.export / "pytorch_lora_weights.safetensors"

    @property
    def embedding(self) -> Path:
        return self.export / "TOK_emb.safetensors"


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    folder = tmp_path_factory.mktemp("by-name")
    base = tiny_pipeline(folder / "tiny-base")
    export = random_export(folder / "export", base, abstractions={"TOK": ("<s0>", "<s1>")})
    other = random_export(folder / "other", base, abstractions={"X": ("<s0>",)}, seed=1)
    webui = folder / "webui"
    for place in ("models/Lora/styles", "embeddings"):
        (webui / place).mkdir(parents=True)
    write_as_kohya(export / "pytorch_lora_weights.safetensors", webui / "models" / "Lora" / "y2k.safetensors")
    write_as_kohya(other / "pytorch_lora_weights.safetensors", webui / "models/Lora/styles/Ink.v2.safetensors")
    (export / "TOK_emb.safetensors").rename(webui / "embeddings" / "y2k_emb.safetensors")
    (export / "TOK_emb.safetensors").symlink_to(webui / "embeddings" / "y2k_emb.safetensors")
    (webui / "embeddings" / "bad.pt").write_bytes(b"\x80\x02pickle")
    return Shelf(base, export, webui)


def write_as_kohya(source: Path, target: Path) -> None:
    """The same LoRA as other trainers write it."""
    parts = adapters_in(open_weights(source))
    weights = AdapterWeights({part: PartAdapter(modules, 4, 4.0) for part, modules in parts.items()})
    save_file(kohya_tensors(weights), target, {"ss_base_model_version": "sdxl_base_v1-0"})


Draw = Callable[..., GenerateResult]


@pytest.fixture
def drawn(shelf: Shelf, tmp_path: Path) -> Draw:
    """Draw one small picture of seed 5, from no run unless told."""
    count = iter(range(100))

    def draw(prompt: str, source: Path | None = None, **more: object) -> GenerateResult:
        plain = GenerateRequest(
            source, prompt, count=1, seed=5, steps=2, side_by_side=False, base=str(shelf.base), device="cpu",
            out=tmp_path / f"out-{next(count)}",
        )  # fmt: skip
        return generate(replace(plain, **more))  # pyright: ignore[reportArgumentType]

    return draw


def pixels(result: GenerateResult | Path) -> np.ndarray:
    return np.asarray(Image.open(result if isinstance(result, Path) else result.pictures[0])).astype(int)


def differ(first: GenerateResult, second: GenerateResult) -> int:
    return int(np.abs(pixels(first) - pixels(second)).max())


def parameters(result: GenerateResult) -> str:
    return Image.open(result.pictures[0]).info["parameters"]


def test_names_in_the_prompt_draw_what_the_export_draws(shelf: Shelf, drawn: Draw) -> None:
    """The same concept: by its run's word, by WebUI names, by ComfyUI's, by given files and by diffusers' tokens."""
    own = drawn("a photo of TOK", shelf.export, long_prompts="chunks")
    for prompt, more in (
        ("a photo of y2k_emb<lora:y2k:1>", {"program": shelf.webui}),
        ("a photo of embedding:y2k_emb <lora:y2k>", {"program": shelf.webui}),
        ("a photo of Y2K_EMB", {"lora": (str(shelf.lora),), "embedding_folder": (shelf.webui / "embeddings",)}),
        ("a photo of <s0><s1>", {"lora": (f"{shelf.lora}:1",), "embedding": (shelf.embedding,)}),
        ("a photo of <s0><s1>", {"source": shelf.lora, "embedding": (shelf.embedding,)}),
    ):
        assert differ(own, drawn(prompt, **more)) <= 1, prompt
    assert differ(own, drawn("a photo of y2k_emb", program=shelf.webui)) > 8
    assert differ(own, drawn("a photo of <lora:y2k:1>", program=shelf.webui)) > 1


def test_embeddings_bundled_in_a_lora_are_named_once_it_is(shelf: Shelf, drawn: Draw, tmp_path: Path) -> None:
    rows = load_file(shelf.embedding)
    lora = load_file(shelf.webui / "models/Lora/y2k.safetensors")
    save_file({**lora, **bundled_tensors("inner", rows["clip_l"], rows["clip_g"])}, tmp_path / "both.safetensors")
    apart = drawn("a y2k_emb dog <lora:y2k:1>", program=shelf.webui)
    assert differ(apart, drawn("a inner dog <lora:both:1>", lora_folder=(tmp_path,))) <= 1
    assert differ(apart, drawn("a inner dog ", lora=(str(tmp_path / "both.safetensors"),))) <= 1
    assert differ(apart, drawn("a outer dog <lora:both:1>", lora_folder=(tmp_path,))) > 1


def test_several_loras_act_each_at_its_own_strength(shelf: Shelf, drawn: Draw) -> None:
    tags = ["", "<lora:y2k:1>", "<lora:Ink.v2:0.5>", "<lora:y2k:1><lora:styles/Ink.v2:0.5>", "<lora:y2k:0>"]
    tags += ["<lora:Ink.v2:0.5><lora:y2k:1>", "<lora:y2k:1><lora:Ink.v2:0>"]
    named = {tag: drawn(f"a dog {tag}", program=shelf.webui) for tag in tags}
    both = named["<lora:y2k:1><lora:styles/Ink.v2:0.5>"]
    assert differ(both, named["<lora:y2k:1>"]) > 8
    assert differ(both, named["<lora:Ink.v2:0.5>"]) > 8
    assert differ(both, named["<lora:Ink.v2:0.5><lora:y2k:1>"]) <= 1
    assert differ(named["<lora:y2k:0>"], named[""]) == 0
    assert differ(named["<lora:y2k:1><lora:Ink.v2:0>"], named["<lora:y2k:1>"]) == 0


def test_a_lora_named_twice_acts_twice_at_its_last_strength_as_in_a1111(shelf: Shelf, drawn: Draw) -> None:
    twice = drawn("a dog <lora:y2k:0.9> <lora:y2k:0.4>", program=shelf.webui)
    assert differ(twice, drawn("a dog  <lora:y2k:0.8>", program=shelf.webui)) == 0


def test_the_scale_is_the_runs_own_or_else_every_loras(shelf: Shelf, drawn: Draw) -> None:
    half = drawn("a dog<lora:y2k:0.5>", program=shelf.webui)
    assert differ(drawn("a dog<lora:y2k:1>", program=shelf.webui, scale=0.5), half) == 0
    own = drawn("a dog", shelf.export, scale=0.5, long_prompts="chunks")
    assert differ(own, half) <= 1
    assert (
        differ(drawn("a dog", shelf.export, lora=(f"{shelf.webui}/models/Lora/y2k.safetensors:0.5",), scale=0.0), own)
        <= 1
    )


def test_a_run_whose_prompt_names_its_own_adapter_has_it_once(shelf: Shelf, drawn: Draw) -> None:
    named = drawn("a TOK<lora:pytorch_lora_weights:0.6>", shelf.export)
    assert differ(named, drawn("a TOK", shelf.export, scale=0.6)) == 0


def test_weights_reach_the_picture_and_plain_syntax_reads_them_as_letters(shelf: Shelf, drawn: Draw) -> None:
    plain, weighted = drawn("a red dog"), drawn("a (red:1.8) dog")
    assert differ(plain, weighted) > 1
    assert differ(plain, drawn("a (red:1.0) dog")) == 0
    assert differ(weighted, drawn("a (red:1.8) dog", prompt_syntax="plain")) > 1


def test_the_parameters_name_loras_and_embeddings_with_the_hashes_a1111_shows(shelf: Shelf, drawn: Draw) -> None:
    prompt = "a y2k_emb dog <lora:y2k:0.9:0.5> <lora:Ink.v2:0>"
    text = parameters(drawn(prompt, program=shelf.webui, negative_prompt="(blurry:1.2)", sampler="DPM++ 2M Karras"))
    prompt_read, negative, settings = parsed(text)
    assert (prompt_read, negative) == (prompt, "(blurry:1.2)")
    tensors = (shelf.webui / "models/Lora/y2k.safetensors").read_bytes()
    behind = hashlib.sha256(tensors[8 + int.from_bytes(tensors[:8], "little") :]).hexdigest()[:12]
    whole = hashlib.sha256((shelf.webui / "embeddings/y2k_emb.safetensors").read_bytes()).hexdigest()[:12]
    hashes = dict(pair.split(": ") for pair in settings.pop("Lora hashes").split(", "))
    assert list(hashes) == ["y2k", "Ink.v2"]
    assert hashes["y2k"] == behind
    assert settings.pop("TI hashes") == f"y2k_emb: {whole}"
    settings.pop("Version")
    assert settings == {
        "Steps": "2", "Sampler": "DPM++ 2M", "Schedule type": "Karras", "CFG scale": "5", "Seed": "5", "Size": "64x64",
        "Model": "tiny-base", "RNG": "CPU",
    }  # fmt: skip


def parsed(text: str) -> tuple[str, str, dict[str, str]]:
    """Prompt, negative prompt and settings, by the grammar that A1111's PNG info reads with."""
    *lines, last = text.split("\n")
    pairs = re.findall(r'\s*(\w[\w \-/]+):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)', last)
    assert len(pairs) >= 3  # else A1111 takes the line for words
    settings = {name: json.loads(value) if value.startswith('"') else value for name, value in pairs}
    start = next((place for place, line in enumerate(lines) if line.startswith("Negative prompt:")), len(lines))
    negative = "\n".join(lines[start:]).removeprefix("Negative prompt:").strip()
    return "\n".join(lines[:start]), negative, settings


@pytest.mark.parametrize("name", ["../export/pytorch_lora_weights", "/etc/passwd", "..", "", "\x1b[31mred", "y2"])
def test_a_name_that_no_file_has_is_one_clear_error_with_names_that_are_near(
    shelf: Shelf, drawn: Draw, name: str
) -> None:
    for prompt in (f"a <lora:{name or ' '}:1>", f"a embedding:{name or 'none'}"):
        with pytest.raises(ConfigError) as refused:
            drawn(prompt, program=shelf.webui)
        (problem,) = refused.value.problems
        assert "there is no" in problem.what
        assert problem.remedy is not None
        assert "\x1b" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"Did you mean y2k\?"):
        drawn("a <lora:y2kk:1>", program=shelf.webui)


def test_a_name_that_two_files_have_is_refused_with_both(shelf: Shelf, drawn: Draw, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.safetensors").symlink_to(shelf.lora)
    with pytest.raises(ConfigError, match=r"2 files that 'same' may mean: .*one/same.*two/same.*folder/name"):
        drawn("a <lora:same:1>", lora_folder=(tmp_path,))
    assert differ(drawn("a <lora:one/same:1>", lora_folder=(tmp_path,)), drawn("a ", lora=(str(shelf.lora),))) <= 1


def test_files_that_are_not_to_be_opened_are_refused_by_name_and_passed_over_as_words(
    shelf: Shelf, drawn: Draw, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"bad\.pt is a pickle"):
        drawn("an embedding:bad", program=shelf.webui)
    events = list[Event]()
    request = GenerateRequest(None, "a bad dog", count=1, steps=1, base=str(shelf.base), program=shelf.webui,
                              out=tmp_path / "out", side_by_side=False)  # fmt: skip
    generate(request, events.append)
    assert any("bad is read as a word" in event.text for event in events if isinstance(event, Notice))
    save_file({"unet.down_blocks.9.lora_A.weight": torch.ones(1, 4)}, tmp_path / "broken.safetensors")
    with pytest.raises(DataError, match=r"neither a LoRA nor"):
        drawn("a dog", lora=(str(tmp_path / "broken.safetensors"),))


def test_a_lora_of_another_base_is_refused_by_name(shelf: Shelf, drawn: Draw, tmp_path: Path) -> None:
    tensors = {name: tensor[:, :8] if ".lora_A" in name else tensor for name, tensor in load_file(shelf.lora).items()}
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, tmp_path / "small.safetensors")
    with pytest.raises(DataError, match=r"LoRA 1 \(small\) does not fit the base: its adapter for .* is for 8→"):
        drawn("a dog", lora=(str(tmp_path / "small.safetensors"),))
    wide = {"clip_l": torch.zeros(1, 9), "clip_g": torch.zeros(1, 9)}
    save_file(wide, tmp_path / "wide_emb.safetensors")
    with pytest.raises(DataError, match="rows of 9 numbers"):
        drawn("a <s0> dog", embedding=(tmp_path / "wide_emb.safetensors",))


def test_tokens_that_nothing_brings_and_prompts_like_books_are_refused(drawn: Draw) -> None:
    with pytest.raises(ConfigError, match=r"no embeddings have the new token <s3>.*--embedding"):
        drawn("a <s3> dog")
    with pytest.raises(ConfigError, match=r"chunks of 75 tokens, and 16 are the most"):
        drawn("a red dog " * 10_000)


def test_a_grid_has_every_prompt_seed_and_scale_and_the_base_beside(shelf: Shelf, drawn: Draw, tmp_path: Path) -> None:
    result = drawn("a TOK", shelf.export, more_prompts=("a red TOK",), seed=(1, 7), scale=(0.5, 1.0), side_by_side=True)
    assert len(result.pictures) == 8
    assert [path.name for path in result.without] == [
        f"prompt-{prompt}-seed-{seed}-without.png" for prompt in (1, 2) for seed in (1, 7)
    ]
    one = drawn("a red TOK", shelf.export, seed=(7,), scale=0.5)
    twin = next(path for path in result.pictures if path.name == "prompt-2-seed-7-scale-0.5.png")
    assert np.abs(pixels(one) - pixels(twin)).max() <= 1
    assert "Lora scale: 0.5" in Image.open(twin).info["parameters"]
    rows, columns = 6, 2
    sheet = Image.open(result.sheet)
    assert sheet.width > columns * 192
    assert sheet.height > rows * 192


def test_scales_of_one_seed_stand_in_one_row_behind_the_base(shelf: Shelf, drawn: Draw) -> None:
    result = drawn("a TOK", shelf.export, scale=(0.4, 0.8, 1.2), side_by_side=True)
    sheet = Image.open(result.sheet)
    assert sheet.width > 4 * 192 > sheet.height
