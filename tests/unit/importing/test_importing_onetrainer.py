"""What OneTrainer would have trained is what is planned: its scale, steps and embeddings, and no trap in silence."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from import_examples import bring_in, lay_pictures, lost, scale, traps, unknown, write

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.runs.plan import plan_run

SQUARE = (64, 64)

LORA: dict[str, Any] = {
    "__version": 11, "training_method": "LORA", "model_type": "STABLE_DIFFUSION_XL_10_BASE",
    "base_model_name": "stabilityai/stable-diffusion-xl-base-1.0", "output_model_destination": "models/dog.safetensors",
    "output_model_format": "KOHYA_LORA", "output_dtype": "FLOAT_16", "train_dtype": "BFLOAT_16", "resolution": "1024",
    "layer_filter_preset": "attn-mlp", "learning_rate": 0.0003, "batch_size": 2, "epochs": 10,
    "text_encoder": {"train": False, "weight_dtype": "FLOAT_16"}, "text_encoder_2": {"train": False}, "ema": "OFF",
}  # fmt: skip


def concept(path: Path, **more: Any) -> dict[str, Any]:
    return {"path": str(path), "enabled": True, "image": {}, "text": {}, **more}


def config_file(tmp_path: Path, concepts: list[dict[str, Any]] | None = None, **more: Any) -> Path:
    inside = {} if concepts is None else {"concepts": concepts}
    return write(tmp_path / "config.json", {**LORA, **inside, **more})


def planned_steps(config: TrainConfig, base: Path, cache: Path) -> int:
    small = {
        "model": config.model.model_copy(update={"base": str(base)}),
        "data": config.data.model_copy(update={"resolution": 64, "cache_folder": cache}),
    }
    return plan_run(config.model_copy(update=small)).steps


def test_a_config_is_carried_over(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 4, caption="a dog")
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder, balancing=3.0)], frobnicate=1))
    config = imported.config
    assert config.model.base == "stabilityai/stable-diffusion-xl-base-1.0"
    assert (config.output.folder, config.output.name, config.output.precision) == (Path("models/dog"), "dog", "fp16")
    assert (config.data.instance_images, config.data.repeats, config.data.buckets) == (folder, 3, True)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adamw", 3e-4)
    assert (config.adapter.targets, config.adapter.text_encoders) == ("attention+feed-forward", False)
    assert (config.runtime.precision, config.runtime.gradient_checkpointing) == ("bf16", True)
    assert unknown(imported) == {"frobnicate"}


def test_alpha_1_at_rank_16_is_carried_over_exactly(tmp_path: Path) -> None:
    imported = bring_in("onetrainer", config_file(tmp_path))
    assert scale(imported) == 1 / 16
    assert "alpha beside rank" in traps(imported)
    assert scale(bring_in("onetrainer", config_file(tmp_path, lora_rank=8, lora_alpha=4))) == 0.5


@pytest.mark.parametrize(
    ("count", "balancing", "batch", "accumulation", "epochs"),
    [(4, 3.0, 2, 1, 10), (5, 1.0, 2, 1, 3), (7, 2.5, 3, 2, 4), (4, 0.5, 1, 1, 6)],
)
def test_steps_are_counted_as_there(
    tmp_path: Path, tiny_base: Path, count: int, balancing: float, batch: int, accumulation: int, epochs: int
) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * count, caption="a dog")
    more = {"batch_size": batch, "gradient_accumulation_steps": accumulation, "epochs": epochs}
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder, balancing=balancing)], **more))
    # floor(pictures × balancing) samples, full batches only, an update every so many batches
    expected = epochs * (int(count * balancing) // batch) // accumulation
    assert planned_steps(imported.config, tiny_base, tmp_path / "cache") == expected
    assert ("short batches are dropped" in traps(imported)) == bool(int(count * balancing) % batch)


def test_each_shape_drops_its_own_short_batch(tmp_path: Path) -> None:
    shapes = [(1024, 1024)] * 3 + [(1536, 1024)] * 4 + [(1024, 1536)]
    folder = lay_pictures(tmp_path / "dog", shapes, caption="a dog")
    steps = bring_in("onetrainer", config_file(tmp_path, [concept(folder)])).config.schedule.steps
    assert steps == 10 * sum(count // 2 for count in Counter(shapes).values())
    square = config_file(tmp_path, [concept(folder)], aspect_ratio_bucketing=False)
    assert bring_in("onetrainer", square).config.schedule.steps == 10 * (8 // 2)


def test_samples_and_several_concepts(tmp_path: Path) -> None:
    first = lay_pictures(tmp_path / "first", [SQUARE] * 3, caption="one")
    second = lay_pictures(tmp_path / "second", [SQUARE] * 2, caption="two")
    concepts = [
        concept(first, balancing=7, balancing_strategy="SAMPLES"), concept(second, repeats=4),
        concept(tmp_path / "off", enabled=False), concept(tmp_path / "v", type="VALIDATION"),
    ]  # fmt: skip
    file = write(tmp_path / "config.json", {**LORA, "batch_size": 1})
    imported = bring_in("onetrainer", file, write(tmp_path / "concepts.json", concepts))
    assert imported.config.schedule.steps == 10 * (7 + 2 * 4)
    assert "second, balancing 4 → lorasmith reads one folder" in lost(imported)
    assert "validation.held_out" in lost(imported)
    bring_in("onetrainer", file, tmp_path / "concepts.json", gather_to=tmp_path / "gathered")
    captions = [line for line in (tmp_path / "gathered" / "metadata.jsonl").read_text().splitlines() if '"two"' in line]
    assert len(captions) == 2 * 4


def test_warm_up_is_on_unless_said_and_counts_batches(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 8, caption="a dog")
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder)], gradient_accumulation_steps=2))
    assert (imported.config.schedule.lr_schedule, imported.config.schedule.warmup_steps) == (
        "constant_with_warmup",
        100,
    )
    assert "200 steps of warm-up unless said" in traps(imported)
    share = config_file(tmp_path, [concept(folder)], learning_rate_warmup_steps=0.1, learning_rate_scheduler="COSINE")
    schedule = bring_in("onetrainer", share).config.schedule
    assert (schedule.lr_schedule, schedule.warmup_steps) == ("cosine", 4)


def test_text_encoders_train_by_default_and_stop_after_30_epochs(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 2, caption="a dog")
    both = {
        "text_encoder": {},
        "text_encoder_2": {"train": True, "learning_rate": 1e-5},
        "epochs": 120,
        "batch_size": 1,
    }
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder)], **both))
    config = imported.config
    assert config.adapter.text_encoders
    assert (config.rates.text_encoder_1, config.rates.text_encoder_2) == (3e-4, 1e-5)
    assert config.schedule.text_encoder_fraction == 30 / 120
    one = {"text_encoder": {"train": False}, "text_encoder_2": {"train": True}}
    assert bring_in("onetrainer", config_file(tmp_path, None, **one)).config.rates.text_encoder_1 == 0


def test_additional_embeddings_become_new_tokens(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 4, caption="<dog> on a table")
    embedding = {
        "placeholder": "<dog>", "token_count": 3, "initial_embedding_text": "dog", "stop_training_after": 4,
        "stop_training_after_unit": "EPOCH", "is_output_embedding": True, "uuid": "x",
    }  # fmt: skip
    more = {"additional_embeddings": [embedding], "embedding_learning_rate": 1e-3, "preserve_embedding_norm": True}
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder)], **more))
    tokens = imported.config.tokens
    assert (tokens.enabled, tokens.abstractions, tokens.per_abstraction) == (True, ("<dog>",), 3)
    assert (tokens.init, tokens.keep_norm) == (("dog",), True)
    assert imported.config.rates.new_tokens_1 == imported.config.rates.new_tokens_2 == 1e-3
    assert (imported.config.schedule.steps, imported.config.schedule.pivot_step) == (20, 8)
    assert "pooling with added tokens" in traps(imported)
    assert "is_output_embedding" in lost(imported)


def test_what_is_learnt_otherwise_is_told(tmp_path: Path) -> None:
    more = {
        "loss_weight_fn": "MIN_SNR_GAMMA", "loss_weight_strength": 5, "offset_noise_weight": 0.05, "mae_strength": 0.5,
        "timestep_distribution": "LOGIT_NORMAL", "ema": "GPU", "text_encoder_layer_skip": 1, "lora_decompose": True,
        "text_encoder_2_layer_skip": 1, "peft_type": "LOHA", "layer_filter_preset": "full", "resolution": "768,1024",
        "optimizer": {"optimizer": "PRODIGY", "d_coef": 0.5, "use_bias_correction": True, "weight_decay": 0.01},
    }  # fmt: skip
    imported = bring_in("onetrainer", config_file(tmp_path, None, **more))
    config = imported.config
    assert (config.objective.snr_gamma, config.objective.noise_offset, config.text.clip_skip) == (5, 0.05, 1)
    assert config.optimizer.model_dump(include={"name", "d_coef", "use_bias_correction", "weight_decay"}) == {
        "name": "prodigy", "d_coef": 0.5, "use_bias_correction": True, "weight_decay": 0.01,
    }  # fmt: skip
    assert (config.adapter.kind, config.data.resolution) == ("dora", 1024)
    for word in (
        "mae_strength",
        "timestep_distribution",
        "ema = GPU",
        "layer_filter_preset = full",
        "lora_decompose_output_axis",
    ):
        assert word in lost(imported)
    for word in ("another kind of adapter", "several resolutions", "clip skip counts differently"):
        assert word in traps(imported)


def test_crop_jitter_and_captions_of_several_lines_are_told_of(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 2, caption="one\ntwo")
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder, image={"enable_random_flip": True})]))
    assert imported.config.data.flip
    assert imported.config.data.caption_lines == "several"
    assert not imported.config.data.use_masks
    assert "crop jitter is on unless switched off" in traps(imported)
    off = concept(folder, image={"enable_crop_jitter": False}, text={"caps_randomize_enable": True}, nonsense=1)
    imported = bring_in("onetrainer", config_file(tmp_path, [off]))
    assert "crop jitter" not in traps(imported)
    assert "caps_randomize_enable" in lost(imported)
    assert unknown(imported) == {"concepts[0].nonsense"}


def test_tags_and_masks(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 2, caption="one; two")
    text = {"enable_tag_shuffling": True, "keep_tags_count": 2, "tag_delimiter": ";"}
    file = config_file(tmp_path, [concept(folder, text=text)], masked_training=True, unmasked_weight=0.2)
    imported = bring_in("onetrainer", file)
    config = imported.config
    assert (config.data.shuffle_tags, config.data.keep_tags, config.data.tag_separator) == (True, 2, ";")
    assert (config.data.use_masks, config.objective.unmasked_weight) == (True, 0.2)
    assert "unmasked_probability = 0.1 (not said: its default)" in lost(imported)
    assert "OneTrainer divides by the picture's area" in traps(imported)
    said = {"masked_training": True, "unmasked_probability": 0, "normalize_masked_area_loss": True}
    as_here = bring_in("onetrainer", config_file(tmp_path, [concept(folder, text=text, __version=2)], **said))
    assert "unmasked_probability" not in lost(as_here)
    assert "picture's area" not in traps(as_here)
    assert not unknown(as_here)


def test_a_misspelt_key_is_listed_with_the_one_it_may_have_been(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 2)
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder)], lora_rnak=4, colour=1))
    assert [str(one) for one in imported.unknown] == ["lora_rnak = 4 (did you mean lora_rank?)", "colour = 1"]


def test_one_prompt_for_a_concept(tmp_path: Path) -> None:
    folder = lay_pictures(tmp_path / "dog", [SQUARE] * 2)
    prompts = write(tmp_path / "prompts.txt", "a photo of sks\nanother\n")
    text = {"prompt_source": "concept", "prompt_path": str(prompts)}
    imported = bring_in("onetrainer", config_file(tmp_path, [concept(folder, text=text)]))
    assert imported.config.data.instance_prompt == "a photo of sks"
    assert "2 prompts → the first of them" in lost(imported)


def test_comments_in_json_are_let_pass(tmp_path: Path) -> None:
    said = '"training_method": "LORA", /* a\n b */ "model_type": "STABLE_DIFFUSION_XL_10_BASE"'
    text = f'{{ // mine\n {said},\n "base_model_name": "a//b", }}'
    assert bring_in("onetrainer", write(tmp_path / "config.json", text)).config.model.base == "a//b"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({**LORA, "training_method": "FINE_TUNE"}, "lorasmith trains LoRA and DoRA"),
        ({**LORA, "model_type": "FLUX_DEV_1"}, "bases of SDXL's kind"),
        ({"model_family": "sdxl"}, "lorasmith import simpletuner"),
        ({**LORA, "epochs": "ten"}, "epochs is ten and must be a number"),
        ({**LORA, "train_dtype": "FLOAT_8"}, "is not a precision"),
        ([concept(Path("x"), balancing=1)], "only concepts"),
        ("[1, 2", "is not JSON"),
    ],
)
def test_what_is_not_onetrainers_or_cannot_be_ours_is_refused(tmp_path: Path, content: object, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bring_in("onetrainer", write(tmp_path / "config.json", content))
