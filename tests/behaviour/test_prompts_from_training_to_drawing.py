"""What a run is told of a prompt is what its export is drawn with, whichever way prompts are read."""

# safetensors and diffusers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors import safe_open
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Event, Notice, ignore
from lorasmith.export_manifest import read_manifest
from lorasmith.inference import draw as drawing
from lorasmith.inference.exports import load_concept
from lorasmith.inference.pipeline import open_pipeline
from lorasmith.run_folder import RunFolder
from lorasmith.runs.exports import export_run
from lorasmith.runs.generate import GenerateRequest, generate
from lorasmith.runs.plan import survey
from lorasmith.runs.prepare import PreparedRun, prepare
from lorasmith.testing import pictures
from lorasmith.training.checkpoint import CheckpointStore
from lorasmith.training.facts import refuse_changes, resume_facts
from lorasmith.training.loop import Rhythm, fit

CPU = torch.device("cpu")
LONG = "a photo of TOK, in the red snow, " + "with a dog on the beach, " * 7 + "and TOK's hat"
SHORT = "a photo of TOK on the beach"


def config_for(folder: Path, **sections: Any) -> TrainConfig:
    if not (folder / "pictures").exists():
        pictures(folder / "pictures", 2, captions=[LONG, SHORT])
    plain: dict[str, Any] = {
        "data": {"instance_images": folder / "pictures", "cache_folder": folder / "latents"},
        "schedule": {"steps": 4, "batch_size": 2},
        "validation": {"steps": 1, "count": 1},
        "output": {"folder": folder / "run", "name": "arm"},
    }
    return TrainConfig.model_validate({**plain, **sections})


def trained(config: TrainConfig) -> PreparedRun:
    surveyed, folder = survey(config), RunFolder(config.output.folder)
    prepared = prepare(config, surveyed, folder, ignore)
    rhythm = Rhythm(frozenset(), frozenset(), lambda: False)
    fit(prepared.training, store=CheckpointStore(folder.checkpoints, 1), rhythm=rhythm, validation=None, emit=ignore)
    export_run(config, surveyed.plan, prepared, folder, ignore)
    return prepared


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Tensor]]:
    """The four prompt tensors of each batch that is drawn."""
    seen: list[dict[str, Tensor]] = []
    encoded: Callable[..., dict[str, Tensor]] = vars(drawing)["_encoded"]

    def listening(*arguments: Any) -> dict[str, Tensor]:
        seen.append(encoded(*arguments))
        return seen[-1]

    monkeypatch.setattr(drawing, "_encoded", listening)
    return seen


ALL_AT_ONCE = {
    "text": {"clip_skip": 1, "long_prompts": "chunks"},
    "tokens": {"look_alike": ["Scarlett Johansson"]},
}


@pytest.mark.parametrize("sections", [{}, ALL_AT_ONCE], ids=["plain", "clip skip, chunks and a look-alike"])
def test_generate_draws_with_the_very_embeddings_that_the_run_trained_on(
    tmp_path: Path, told: list[dict[str, Tensor]], sections: dict[str, Any]
) -> None:
    prepared = trained(config_for(tmp_path, **sections))
    training = prepared.training
    for caption in (SHORT, LONG):
        ours = training.prompts.embeddings([caption], training.phases.phase_at(3))
        told.clear()
        request = GenerateRequest(tmp_path / "run/export", caption, count=1, steps=1, side_by_side=False, scale=1.0)
        generate(replace(request, out=tmp_path / caption[-5:]))
        (drawn,) = told
        assert torch.equal(drawn["prompt_embeds"], ours.hidden)
        assert torch.equal(drawn["pooled_prompt_embeds"], ours.pooled)
        assert (ours.hidden.shape[1] > 32) == (caption == LONG and bool(sections))


def test_how_prompts_were_read_goes_into_manifest_header_card_and_pictures(tmp_path: Path) -> None:
    trained(config_for(tmp_path, **ALL_AT_ONCE))
    export = tmp_path / "run/export"
    manifest = read_manifest(export)
    assert (manifest.clip_skip, manifest.long_prompts) == (1, "chunks")
    assert manifest.abstractions["TOK"].look_alike == "Scarlett Johansson"
    with safe_open(export / "arm.safetensors", framework="pt") as opened:
        assert opened.metadata()["ss_clip_skip"] == "3"
    card = (export / "README.md").read_text(encoding="utf-8")
    assert "clip_skip=1).images[0]" in card
    assert "*CLIP Set Last Layer* at -3 in ComfyUI" in card
    assert "*Clip skip* 3 in Forge" in card
    assert "read in chunks" in card
    assert "<s0><s1> Scarlett Johansson" in card
    assert "arm_emb Scarlett Johansson" in card
    assert "embedding:arm_emb Scarlett Johansson" in card
    picture = next((tmp_path / "run/samples").glob("*.png"))
    assert "Clip skip: 3" in Image.open(picture).info["parameters"]


def test_a_plain_run_says_nothing_of_it(tmp_path: Path) -> None:
    trained(config_for(tmp_path))
    card = (tmp_path / "run/export/README.md").read_text(encoding="utf-8")
    assert "clip_skip" not in card
    assert "How prompts are read" not in card
    with safe_open(tmp_path / "run/export/arm.safetensors", framework="pt") as opened:
        assert "ss_clip_skip" not in opened.metadata()


def test_generate_reads_prompts_as_it_is_told_and_names_what_it_cuts(
    tmp_path: Path, told: list[dict[str, Tensor]]
) -> None:
    trained(config_for(tmp_path))
    plain = GenerateRequest(tmp_path / "run/export", LONG, count=1, steps=1, side_by_side=False)
    heard: list[Event] = []
    generate(replace(plain, out=tmp_path / "cut"), heard.append)
    (notice,) = [event.text for event in heard if isinstance(event, Notice)]
    assert notice.startswith("The last 36 tokens of the prompt are not read: ")
    assert notice.endswith("--long-prompts chunks reads them.")
    heard.clear()
    told.clear()
    generate(replace(plain, out=tmp_path / "whole", long_prompts="chunks", clip_skip=1), heard.append)
    assert not [event for event in heard if isinstance(event, Notice)]
    assert told[0]["prompt_embeds"].shape[1] == 96
    with pytest.raises(ConfigError, match=r"2 more layers cannot be left out .* \(clip_skip\)"):
        generate(replace(plain, out=tmp_path / "none", clip_skip=2))


def test_class_images_and_validation_pictures_are_drawn_as_prompts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[TextConfig] = []
    draw = drawing.draw

    def listening(pipeline: Any, requests: Any, **options: Any) -> Any:
        seen.extend(request.settings.text for request in requests)
        return draw(pipeline, requests, **options)

    monkeypatch.setattr("lorasmith.runs.sampling.draw", listening)
    config = config_for(
        tmp_path,
        text={"clip_skip": 1},
        schedule={"steps": 1},
        prior={"class_prompt": "a dog", "num_class_images": 1, "sample_steps": 1},
    )
    trained(config)
    assert len(seen) == 1 + 2, "a class image and the card's pictures"
    assert all(one == TextConfig(clip_skip=1) for one in seen)


def test_a_run_does_not_go_on_reading_prompts_another_way(tmp_path: Path) -> None:
    facts: list[dict[str, str]] = []
    for text in ({}, {"clip_skip": 1}, {"long_prompts": "chunks"}):
        config = config_for(tmp_path, text=text)
        prepared = prepare(config, survey(config), RunFolder(config.output.folder), ignore)
        facts.append(resume_facts(config, prepared.training.family, ()))
    for other in facts[1:]:
        with pytest.raises(DataError, match=r"changed: text"):
            refuse_changes({"text": facts[0]["text"]}, {"text": other["text"]})


def test_the_look_alikes_name_is_read_beside_the_new_tokens_and_stays_what_it_was(tmp_path: Path) -> None:
    prepared = trained(config_for(tmp_path, tokens={"look_alike": ["a red dog"]}))
    family: Any = prepared.training.family
    pipeline = open_pipeline(ModelConfig(), device=CPU, dtype=torch.float32)
    name = pipeline.tokenizer("a red dog", add_special_tokens=False).input_ids
    ids = family.components.tokenizer_1(
        load_concept(pipeline, tmp_path / "run/export").expand("TOK's hat"), add_special_tokens=False
    ).input_ids
    new = [family.components.tokenizer_1.get_vocab()[token] for token in ("<s0>", "<s1>")]
    assert ids[: 2 + len(name)] == [*new, *name]
    table = family.components.text_encoder_1.get_input_embeddings()
    base = open_pipeline(ModelConfig(), device=CPU, dtype=torch.float32).text_encoder.get_input_embeddings()
    tokens = torch.tensor([name])
    assert torch.equal(table(tokens), base(tokens)), "the name's own vectors are the base's"


def test_what_is_not_known_of_an_export_is_read_as_sdxl_was_made(tmp_path: Path) -> None:
    trained(config_for(tmp_path))
    file = tmp_path / "run/export/lorasmith.json"
    old = {
        name: value for name, value in json.loads(file.read_text()).items() if name not in ("clip_skip", "long_prompts")
    }
    file.write_text(json.dumps(old))
    manifest = read_manifest(tmp_path / "run/export")
    assert GenerateRequest(tmp_path, "").reading(manifest) == TextConfig()
