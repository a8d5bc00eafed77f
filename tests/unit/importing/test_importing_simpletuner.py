"""What SimpleTuner would have trained is what is planned: its scale, its steps, and no trap in silence."""

import math
from pathlib import Path
from typing import Any

import pytest
from import_examples import bring_in, lay_pictures, lost, scale, traps, unknown, write

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.runs.plan import plan_run

SQUARE = (64, 64)
LORA: dict[str, Any] = {
    "--model_family": "sdxl", "--model_type": "lora", "--lora_rank": 16, "--learning_rate": "1e-4",
    "--optimizer": "adamw_bf16", "--max_train_steps": 300, "--train_batch_size": 2, "--seed": 42,
    "--output_dir": "output/models", "--mixed_precision": "bf16", "--lr_scheduler": "cosine", "--lr_warmup_steps": 10,
    "--checkpoint_step_interval": 50, "--validation_prompt": "a cat", "--validation_step_interval": 60,
    "--report_to": "wandb", "--push_to_hub": "false", "--snr_gamma": 5,
}  # fmt: skip


def backend(folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "id": "pictures", "type": "local", "instance_data_dir": str(folder), "caption_strategy": "textfile",
        "resolution": 1024, "resolution_type": "pixel_area", "crop": True, "crop_aspect": "square",
        "crop_style": "center", "repeats": 0, "cache_dir_vae": "cache", **more,
    }  # fmt: skip


TEXTS = {"id": "texts", "type": "local", "dataset_type": "text_embeds", "default": True, "cache_dir": "cache"}


def files(tmp_path: Path, *backends: dict[str, Any], **more: Any) -> tuple[Path, Path]:
    config = {**LORA, **{f"--{name}": value for name, value in more.items()}}
    return write(tmp_path / "config.json", config), write(tmp_path / "multidatabackend.json", [*backends, TEXTS])


def planned_steps(config: TrainConfig, base: Path, cache: Path) -> int:
    small = {
        "model": config.model.model_copy(update={"base": str(base), "vae": None}),
        "data": config.data.model_copy(update={"resolution": 64, "cache_folder": cache}),
    }
    return plan_run(config.model_copy(update=small)).steps


def test_a_config_is_carried_over(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "pictures", [SQUARE] * 3, caption="a cat")
    more = {"frobnicate": 2, "resolution": 512, "resolution_type": "pixel"}  # for backends that do not say it
    imported = bring_in("simpletuner", *files(tmp_path, backend(folder, colour=1), **more))
    config = imported.config
    assert config.model.base == "stabilityai/stable-diffusion-xl-base-1.0"
    assert config.model.vae == "madebyollin/sdxl-vae-fp16-fix"
    assert (config.data.instance_images, config.data.repeats, config.data.resolution) == (folder, 1, 1024)
    assert (config.data.buckets, config.data.crop) == (False, "center")
    assert config.optimizer.model_dump(include={"name", "learning_rate", "weight_decay", "eps"}) == {
        "name": "adamw", "learning_rate": 1e-4, "weight_decay": 0.01, "eps": 1e-6,
    }  # fmt: skip
    assert (config.schedule.steps, config.schedule.lr_schedule, config.schedule.warmup_steps) == (300, "cosine", 10)
    assert (config.checkpoint.every, config.validation.prompts, config.validation.every) == (50, ("a cat",), 60)
    assert (config.adapter.targets, config.adapter.text_encoders, config.adapter.dropout) == ("attention", False, 0.1)
    assert (config.runtime.seed, config.runtime.precision, config.objective.snr_gamma) == (42, "bf16", 5)
    assert (config.data.caption_dropout, config.data.caption_lines) == (0.1, "several")
    assert unknown(imported) == {"frobnicate", "backend[0].colour"}
    assert "report_to = wandb" in lost(imported)
    assert "push_to_hub" not in lost(imported)


@pytest.mark.parametrize(
    ("said", "expected"), [({}, 1.0), ({"lora_alpha": 8}, 0.5), ({"lora_rank": 4, "lora_alpha": "16"}, 4.0)]
)
def test_the_scale_is_what_it_was(tmp_path: Path, said: dict[str, Any], expected: float) -> None:
    assert scale(bring_in("simpletuner", *files(tmp_path, **said))) == expected


@pytest.mark.parametrize(("repeats", "batch", "accumulation", "epochs"), [(0, 1, 1, 3), (4, 2, 1, 2), (2, 4, 3, 5)])
def test_repeats_begin_at_0_and_epochs_are_counted_as_there(
    tmp_path: Path, tiny_base: Path, repeats: int, batch: int, accumulation: int, epochs: int
) -> None:
    folder = lay_pictures(tmp_path / "pictures", [SQUARE] * 5, caption="a cat")
    more = {"max_train_steps": 0, "num_train_epochs": epochs, "train_batch_size": batch,
            "gradient_accumulation_steps": accumulation}  # fmt: skip
    imported = bring_in("simpletuner", *files(tmp_path, backend(folder, repeats=repeats), **more))
    per_epoch = math.ceil(math.ceil(5 * (repeats + 1) / batch) / accumulation)
    assert imported.config.data.repeats == repeats + 1
    assert planned_steps(imported.config, tiny_base, tmp_path / "cache") == epochs * per_epoch
    assert ("repeats begin at 0" in traps(imported)) == (repeats > 0)


def test_shapes_with_fewer_pictures_than_a_batch_are_left_out_of_the_count(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "pictures", [(900, 600)] * 4 + [(600, 900)], caption="a cat")
    more = {"max_train_steps": 0, "num_train_epochs": 3}
    imported = bring_in("simpletuner", *files(tmp_path, backend(folder, crop=False), **more))
    assert imported.config.schedule.steps == 3 * 2
    assert imported.config.data.buckets
    assert "leaves 1 sample of each epoch out" in traps(imported)


def test_the_text_false_is_off(tmp_path: Path) -> None:
    config = bring_in("simpletuner", *files(tmp_path, use_dora="False", gradient_checkpointing="false")).config
    assert (config.adapter.kind, config.runtime.gradient_checkpointing) == ("lora", False)
    assert bring_in("simpletuner", *files(tmp_path, use_dora="true")).config.adapter.kind == "dora"


def test_lycoris_defaults_and_clipping_are_told_of(tmp_path: Path) -> None:
    said = {"lora_type": "lycoris", "lycoris_config": "x.json", "offset_noise": True, "lr_scheduler": "sine"}
    imported = bring_in("simpletuner", *files(tmp_path, learning_rate=None, **said))
    assert imported.config.optimizer.learning_rate == 4e-7
    assert imported.config.objective.noise_offset == 0.1
    for word in (
        "LyCORIS is another kind of adapter",
        "a learning rate for whole models",
        "dropout of 0.1 unless said",
    ):
        assert word in traps(imported)
    for word in ("noise_offset_probability", "lr_scheduler = sine", "clipped by"):
        assert word in lost(imported)


def test_its_prodigy_is_the_schedule_free_one(tmp_path: Path) -> None:
    said = {"optimizer": "prodigy", "learning_rate": 1, "optimizer_config": "weight_decay=0.02,d_coef=2"}
    optimizer = bring_in("simpletuner", *files(tmp_path, **said)).config.optimizer
    assert optimizer.model_dump(include={"name", "weight_decay", "d_coef"}) == {
        "name": "schedule_free_prodigy", "weight_decay": 0.02, "d_coef": 2,
    }  # fmt: skip


def test_captions_from_names_are_gathered(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "pictures" / "deep", [SQUARE] * 2).parent
    one = backend(folder, caption_strategy="filename", repeats=1)
    assert "captions from the file name" in lost(bring_in("simpletuner", *files(tmp_path, one)))
    bring_in("simpletuner", *files(tmp_path, one), gather_to=tmp_path / "gathered")
    lines = (tmp_path / "gathered" / "metadata.jsonl").read_text().splitlines()
    assert [line.partition('"text": ')[2] for line in lines] == ['"picture-00"}', '"picture-01"}']


def test_other_kinds_of_places_and_reg_sets_are_told_of(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "pictures", [SQUARE], caption="a cat")
    reg = backend(folder, id="reg", is_regularisation_data=True)
    imported = bring_in("simpletuner", *files(tmp_path, backend(folder), reg, backend(folder, id="s3", type="aws")))
    assert "s3: backend[2].type = aws" in lost(imported).replace("backend[2].id = ", "")
    assert "is_regularisation_data" in lost(imported)


def test_a_config_env_and_the_backends_it_names(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "pictures", [SQUARE] * 2, caption="a cat")
    write(tmp_path / "multidatabackend.json", [backend(folder), TEXTS])
    env = write(tmp_path / "config.env", (
        'export MODEL_FAMILY="sdxl"\nexport MODEL_TYPE=lora\nexport LORA_RANK=8 # small\nMAX_NUM_STEPS=77\n'
        "export DATALOADER_CONFIG='config/multidatabackend.json'\nLEARNING_RATE=1e-4\n"
    ))  # fmt: skip
    config = bring_in("simpletuner", env).config
    assert (config.adapter.rank, config.schedule.steps, config.data.instance_images) == (8, 77, folder)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"model_family": "flux"}, "bases of SDXL's kind"),
        ({"model_type": "full"}, "lorasmith trains LoRA and DoRA"),
        ({"use_dora": "perhaps"}, "must be true or false"),
        ({"train_batch_size": 0}, "at least 1"),
    ],
)
def test_what_cannot_be_ours_is_refused(tmp_path: Path, more: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bring_in("simpletuner", *files(tmp_path, **more))


def test_backends_alone_are_not_a_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="only data backends"):
        bring_in("simpletuner", write(tmp_path / "multidatabackend.json", [TEXTS]))
