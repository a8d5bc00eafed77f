"""What ai-toolkit would have trained is what is planned: its scale, its steps, and no trap in silence."""

from pathlib import Path
from typing import Any

import pytest
from import_examples import bring_in, lay_pictures, lost, scale, traps, unknown, write

from lorasmith.errors import ConfigError
from lorasmith.runs.plan import plan_run

EXAMPLE = """
job: extension
config:
  name: red dog
  process:
    - type: sd_trainer
      training_folder: output
      device: cuda:0
      trigger_word: sks
      network:
        type: lora
        linear: 16
        linear_alpha: 8
        conv: 8
      save: {dtype: float16, save_every: 200, max_step_saves_to_keep: 4}
      datasets:
        - folder_path: FOLDER
          caption_ext: txt
          caption_dropout_rate: 0.05
          resolution: [512, 768, 1024]
          num_repeats: 4
          flip_x: true
          control_path: elsewhere
          colour: blue
      train:
        batch_size: 2
        steps: 600
        gradient_accumulation: 3
        train_unet: true
        train_text_encoder: false
        noise_scheduler: ddpm
        optimizer: adamw8bit
        optimizer_params: {weight_decay: 0.0001}
        lr: 1e-4
        unet_lr: 2e-4
        dtype: bf16
        min_snr_gamma: 5
        ema_config: {use_ema: true, ema_decay: 0.99}
      model: {name_or_path: base.safetensors, is_xl: true, quantize: true}
      sample:
        sampler: ddpm
        sample_every: 100
        guidance_scale: 6
        prompts: ["[trigger] in a boat", "a horse"]
meta: {name: "[name]", version: "1.0"}
"""


def example(tmp_path: Path, text: str = EXAMPLE, *, caption: str = "[trigger] on a table") -> Path:
    lay_pictures(tmp_path / "pictures", [(64, 64)] * 3, caption=caption)
    return write(tmp_path / "config.yaml", text.replace("FOLDER", str(tmp_path / "pictures")))


def test_a_config_is_carried_over(tmp_path: Path) -> None:
    imported = bring_in("ai-toolkit", example(tmp_path))
    config = imported.config
    assert (config.model.base, config.output.folder, config.output.name) == (
        "base.safetensors",
        Path("output/red dog"),
        "red dog",
    )
    assert (config.data.repeats, config.data.resolution, config.data.flip, config.data.buckets) == (4, 1024, True, True)
    assert config.optimizer.model_dump(include={"name", "eight_bit", "learning_rate", "weight_decay"}) == {
        "name": "adamw", "eight_bit": True, "learning_rate": 1e-4, "weight_decay": 1e-4,
    }  # fmt: skip
    assert (config.runtime.precision, config.output.precision, config.objective.snr_gamma) == ("bf16", "fp16", 5)
    assert config.data.caption_dropout == 0.05
    assert (config.checkpoint.every, config.checkpoint.keep) == (200, 4)
    assert config.validation.prompts == ("sks in a boat", "a horse")
    assert (config.validation.every, config.validation.guidance) == (100, 6)
    assert not config.tokens.enabled
    assert unknown(imported) == {"config.process[0].datasets[0].colour"}
    for word in ("conv = 8", "use_ema", "control_path", "quantize = true"):
        assert word in lost(imported)
    assert "accepts it and trains everything at lr = 0.0001" in traps(imported)


def test_steps_are_updates_whatever_repeats_resolutions_and_accumulation(tmp_path: Path, tiny_base: Path) -> None:
    config = bring_in("ai-toolkit", example(tmp_path)).config
    small = {
        "model": config.model.model_copy(update={"base": str(tiny_base)}),
        "data": config.data.model_copy(update={"resolution": 64, "cache_folder": tmp_path / "cache"}),
    }
    plan = plan_run(config.model_copy(update=small))
    assert (plan.steps, plan.gradient_accumulation, plan.batch_size) == (600, 3, 2)


def test_the_old_key_for_accumulation_makes_passes_of_steps(tmp_path: Path) -> None:
    text = EXAMPLE.replace("gradient_accumulation: 3", "gradient_accumulation_steps: 4")
    imported = bring_in("ai-toolkit", example(tmp_path, text))
    assert (imported.config.schedule.steps, imported.config.schedule.gradient_accumulation) == (150, 4)
    assert "two keys for accumulation" in traps(imported)
    theirs = {one.path: one.theirs for one in imported.carried}
    assert theirs["schedule.gradient_accumulation"].endswith("gradient_accumulation_steps = 4")


@pytest.mark.parametrize(
    ("said", "expected"),
    [("linear: 16\n        linear_alpha: 8", 0.5), ("linear: 16", 1 / 16), ("rank: 8\n        alpha: 16", 2.0),
     ("linear: 32\n        linear_alpha: 0", 1.0), ("dropout: 0.1", 1 / 4)],
)  # fmt: skip
def test_the_scale_is_what_it_was(tmp_path: Path, said: str, expected: float) -> None:
    text = EXAMPLE.replace("linear: 16\n        linear_alpha: 8", said)
    imported = bring_in("ai-toolkit", example(tmp_path, text))
    assert scale(imported) == expected
    assert ("alpha beside rank" in traps(imported)) == (expected != 1)


def test_a_copy_for_each_resolution_is_told_of(tmp_path: Path) -> None:
    imported = bring_in("ai-toolkit", example(tmp_path))
    assert "trains 3 copies of the pictures" in traps(imported)
    assert "never enlarges" in traps(imported)


def test_the_word_in_captions_is_put_in_when_gathering(tmp_path: Path) -> None:
    assert "[trigger] in captions" in traps(bring_in("ai-toolkit", example(tmp_path)))
    bring_in("ai-toolkit", tmp_path / "config.yaml", gather_to=tmp_path / "gathered")
    lines = (tmp_path / "gathered" / "metadata.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert all('"sks on a table"' in line for line in lines)


def test_reg_sets_and_output_preservation(tmp_path: Path) -> None:
    reg = lay_pictures(tmp_path / "reg", [(64, 64)] * 5, caption="a dog")
    text = EXAMPLE.replace(
        "      train:\n",
        f"        - folder_path: {reg}\n          is_reg: true\n          default_caption: a dog\n      train:\n",
    )
    imported = bring_in("ai-toolkit", example(tmp_path, text))
    assert imported.config.schedule.steps == 600
    prior = imported.config.prior
    assert prior is not None
    assert (prior.class_images, prior.class_prompt, prior.num_class_images) == (reg, "a dog", 5)
    assert "every second step" in traps(imported)
    dop = "lr: 1e-4\n        diff_output_preservation: true\n        diff_output_preservation_class: dog"
    prior = bring_in("ai-toolkit", example(tmp_path, EXAMPLE.replace("lr: 1e-4", dop))).config.prior
    assert prior is not None
    assert (prior.source, prior.class_prompt) == ("adapter_off", "dog")


def test_an_embedding_becomes_new_tokens(tmp_path: Path) -> None:
    text = EXAMPLE.replace(
        "      save:", "      embedding: {trigger: sksdog, tokens: 4, init_words: a dog}\n      save:"
    )
    imported = bring_in("ai-toolkit", example(tmp_path, text))
    tokens = imported.config.tokens
    assert (tokens.enabled, tokens.abstractions, tokens.per_abstraction, tokens.init) == (
        True,
        ("sksdog",),
        4,
        ("a dog",),
    )
    assert imported.config.schedule.pivot == 1.0


def test_a_lokr_and_blocks_are_told_of(tmp_path: Path) -> None:
    text = EXAMPLE.replace("type: lora", "type: lokr\n        network_kwargs: {only_if_contains: [up_blocks]}")
    imported = bring_in("ai-toolkit", example(tmp_path, text))
    assert "another kind of adapter" in traps(imported)
    assert "only_if_contains" in lost(imported)


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("is_xl: true", "is_flux: true", "bases of SDXL's kind"),
        ("type: sd_trainer", "type: slider", "no process that trains a LoRA"),
        ("steps: 600", "steps: many", "must be a number"),
        ("job: extension", "job: [", "is not YAML"),
        ("job: extension", "job: &a extension\nother: *a", "YAML aliases"),
        ("job: extension", "job: !!python/object/apply:os.system ['true']", "is not YAML"),
    ],
)
def test_what_cannot_be_ours_is_refused(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bring_in("ai-toolkit", example(tmp_path, EXAMPLE.replace(old, new)))


def test_other_files_are_named_for_what_they_are(tmp_path: Path) -> None:
    files: dict[str, Any] = {
        "SimpleTuner config": {"model_family": "sdxl", "lora_rank": 4},
        "kohya config": {"network_dim": 4},
        "a list": [1, 2],
    }
    for number, (told, content) in enumerate(files.items()):
        with pytest.raises(ConfigError, match=told):
            bring_in("ai-toolkit", write(tmp_path / f"{number}.json", content))
