"""diffusers' own loaders read what we write, and merge what was trained."""

# diffusers, peft and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportPrivateImportUsage=false

import json
import logging
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from peft.tuners.lora import Linear as LoraLinear
from safetensors.torch import load_file, save_file
from torch import Tensor

from lorasmith.export import AdapterKind, AdapterWeights, ExportInfo, ModuleAdapter, NewTokenRows, write_exports
from lorasmith.testing import open_pipeline

Trained = Callable[[AdapterKind], tuple[Any, AdapterWeights]]
DIFFUSERS = "pytorch_lora_weights.safetensors"
KOHYA = "my-dog.safetensors"


def _changes(pipeline: Any) -> dict[str, Tensor]:
    """What each adapted layer of a pipeline adds to its weight, by part and module."""
    parts = {"denoiser": pipeline.unet, "text_encoder_1": pipeline.text_encoder}
    parts["text_encoder_2"] = pipeline.text_encoder_2
    return {
        f"{part}.{name.removeprefix('text_model.')}": module.get_delta_weight(module.active_adapters[0]).detach()
        for part, network in parts.items()
        for name, module in network.named_modules()
        if isinstance(module, LoraLinear)
    }


def _wanted(weights: AdapterWeights) -> dict[str, Tensor]:
    return {
        f"{part}.{name.removeprefix('text_model.')}": module.change() * adapter.alpha / adapter.rank
        for part, adapter in weights.parts.items()
        for name, module in adapter.modules.items()
    }


def _assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    assert len(found) > 100
    for name, change in wanted.items():
        assert change.abs().max() > 0.01
        torch.testing.assert_close(found[name], change, rtol=1e-5, atol=1e-6)


def _draw(pipeline: Any, prompt: str = "a red dog", **options: Any) -> bytes:
    generator = torch.Generator().manual_seed(0)
    picture = pipeline(prompt, num_inference_steps=2, guidance_scale=3.0, generator=generator, **options).images[0]
    return picture.tobytes()


@pytest.fixture
def exported(tmp_path: Path, trained: Trained, rows: NewTokenRows, info: ExportInfo) -> tuple[Path, AdapterWeights]:
    _, weights = trained("lora")
    write_exports(tmp_path / "export", weights, rows=rows, info=info)
    return tmp_path / "export", weights


@pytest.mark.parametrize("file", [DIFFUSERS, KOHYA])
def test_both_lora_files_give_every_layer_the_trained_change(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, file: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder, weights = exported
    pipeline = open_pipeline(tiny_base)
    logging.getLogger("diffusers").propagate = True
    pipeline.load_lora_weights(str(folder), weight_name=file)
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    _assert_same(_changes(pipeline), _wanted(weights))


def test_readers_that_ignore_the_headers_alpha_give_the_same_change(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, tmp_path: Path
) -> None:
    folder, weights = exported
    save_file(load_file(folder / DIFFUSERS), tmp_path / "bare.safetensors")
    pipeline = open_pipeline(tiny_base)
    pipeline.load_lora_weights(str(tmp_path), weight_name="bare.safetensors")
    _assert_same(_changes(pipeline), _wanted(weights))


@pytest.mark.parametrize("file", [DIFFUSERS, KOHYA])
def test_half_precision_files_give_the_rounded_change_and_take_half_the_room(
    tmp_path: Path, trained: Trained, tiny_base: Path, rows: NewTokenRows, info: ExportInfo, file: str
) -> None:
    _, weights = trained("lora")
    halves = {
        part: replace(
            adapter,
            modules={
                path: ModuleAdapter(module.down.half(), module.up.half()) for path, module in adapter.modules.items()
            },
        )
        for part, adapter in weights.parts.items()
    }
    write_exports(tmp_path / "whole", weights, rows=rows, info=info)
    write_exports(tmp_path / "half", replace(weights, parts=halves), rows=rows, info=info)
    tensors = load_file(tmp_path / "half" / file)
    assert {tensor.dtype for name, tensor in tensors.items() if not name.endswith("alpha")} == {torch.float16}
    assert all(tensor.dtype == torch.float32 for name, tensor in tensors.items() if name.endswith("alpha"))
    pipeline = open_pipeline(tiny_base)
    pipeline.load_lora_weights(str(tmp_path / "half"), weight_name=file)
    changes = _changes(pipeline)
    for name, change in _wanted(weights).items():
        torch.testing.assert_close(changes[name], change, rtol=0, atol=4e-3 * change.abs().max().item())


def test_a_dora_draws_through_diffusers_reader_what_it_drew_while_training(
    tmp_path: Path, trained: Trained, tiny_base: Path, rows: NewTokenRows, info: ExportInfo
) -> None:
    training, weights = trained("dora")
    write_exports(tmp_path, weights, rows=rows, info=info)
    loaded = open_pipeline(tiny_base)
    loaded.load_lora_weights(str(tmp_path), weight_name=DIFFUSERS)
    latents, times, sizes = torch.randn(1, 4, 8, 8), torch.tensor([500]), torch.ones(1, 6) * 64
    answers: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for pipeline in (training, loaded):
            hidden, _, pooled, _ = pipeline.encode_prompt("a red dog", do_classifier_free_guidance=False)
            added = {"text_embeds": pooled, "time_ids": sizes}
            answers.append((hidden, pipeline.unet(latents, times, hidden, added_cond_kwargs=added).sample))
        bare = open_pipeline(tiny_base).unet(latents, times, answers[0][0], added_cond_kwargs=added).sample
    torch.testing.assert_close(answers[0], answers[1], rtol=1e-4, atol=1e-5)
    assert (bare - answers[0][1]).abs().max() > 0.01


def test_the_articles_snippet_runs_as_it_stands_and_the_lora_changes_the_picture(
    exported: tuple[Path, AdapterWeights], tiny_base: Path
) -> None:
    folder, _ = exported
    pipe: Any = DiffusionPipeline.from_pretrained(tiny_base)
    state_dict = load_file(folder / "my-dog_emb.safetensors")
    pipe.load_textual_inversion(
        state_dict["clip_l"], token=["<s0>", "<s1>"], text_encoder=pipe.text_encoder, tokenizer=pipe.tokenizer
    )
    pipe.load_textual_inversion(
        state_dict["clip_g"], token=["<s0>", "<s1>"], text_encoder=pipe.text_encoder_2, tokenizer=pipe.tokenizer_2
    )
    prompt = "a <s0><s1> webpage about an astronaut riding a horse"
    before = _draw(pipe, prompt)
    pipe.load_lora_weights(str(folder), weight_name="pytorch_lora_weights.safetensors")
    assert _draw(pipe, prompt, cross_attention_kwargs={"scale": 0.0}) == before
    weak, strong = (_draw(pipe, prompt, cross_attention_kwargs={"scale": scale}) for scale in (0.8, 1.0))
    assert len({before, weak, strong}) == 3
    assert _draw(pipe, "a dog webpage about an astronaut", cross_attention_kwargs={"scale": 0.8}) != weak


def test_the_model_cards_snippet_runs_and_pools_at_the_true_end_of_text(
    exported: tuple[Path, AdapterWeights], tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    info: ExportInfo,
) -> None:  # fmt: skip
    folder, _ = exported
    monkeypatch.chdir(tmp_path)
    card = (folder / "README.md").read_text()
    (snippet,) = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    snippet = snippet.replace(repr(info.base), repr(str(tiny_base))).replace('folder = "."', f'folder = "{folder}"')
    snippet = snippet.replace("cross_attention_kwargs", "num_inference_steps=1, cross_attention_kwargs")
    names: dict[str, Any] = {}
    exec(snippet, names)  # noqa: S102  # our own text
    assert (tmp_path / "picture.png").stat().st_size > 0
    pipe = names["pipe"]
    prompt = "a photo of <s0><s1> in the snow"
    ids = pipe.tokenizer_2(prompt, padding="max_length", return_tensors="pt").input_ids
    with torch.no_grad():
        answer = pipe.text_encoder_2(ids)
        end = ids[0].tolist().index(pipe.tokenizer_2.eos_token_id)
        at_end = pipe.text_encoder_2.text_projection(answer.last_hidden_state[0, end])
        *_, pooled, _ = pipe.encode_prompt(prompt, do_classifier_free_guidance=False)
        others = [
            pipe.encode_prompt(f"a photo of <s0><s1> {more}", do_classifier_free_guidance=False)[2] for more in "xy"
        ]
        pipe.text_encoder_2.text_model.eos_token_id = 2  # what SDXL's config says
        blind = [
            pipe.encode_prompt(f"a photo of <s0><s1> {more}", do_classifier_free_guidance=False)[2] for more in "xy"
        ]
    torch.testing.assert_close(pooled[0], at_end)
    assert not torch.equal(others[0], others[1])
    assert torch.equal(blind[0], blind[1]), "the trap is in the fixture: pooled at the new token, blind to the rest"


def test_the_headers_adapter_metadata_agrees_with_the_tensors(exported: tuple[Path, AdapterWeights]) -> None:
    from safetensors import safe_open

    folder, weights = exported
    with safe_open(folder / DIFFUSERS, framework="pt") as file:
        opened: Any = file
        header = opened.metadata()
        names = list(opened.keys())
    settings = json.loads(header["lora_adapter_metadata"])
    assert header["format"] == "pt"
    for prefix, part in (
        ("unet", "denoiser"),
        ("text_encoder", "text_encoder_1"),
        ("text_encoder_2", "text_encoder_2"),
    ):
        adapter = weights.parts[part]  # pyright: ignore[reportArgumentType]
        assert settings[f"{prefix}.r"] == settings[f"{prefix}.lora_alpha"] == adapter.rank
        assert len(settings[f"{prefix}.target_modules"]) == len(adapter.modules)
        assert len([name for name in names if name.startswith(f"{prefix}.")]) == 2 * len(adapter.modules)
    assert all("text_model.encoder" in name for name in names if name.startswith("text_encoder"))
