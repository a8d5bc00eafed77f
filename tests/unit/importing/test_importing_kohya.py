"""What sd-scripts would have trained is what is planned: its scale, its steps, its captions, and no trap in silence."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from import_examples import bring_in, lay_pictures, lost, scale, traps, unknown, write

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.runs.plan import plan_run

SQUARE = (64, 64)
SHAPES = [(1200, 800)] * 3 + [(800, 1200)] * 2 + [(1000, 1000)] * 4 + [(2000, 900)]

SCRIPT = r"""#!/bin/bash
# an example
export MODEL=sdxl
accelerate launch --num_cpu_threads_per_process 2 ./sdxl_train_network.py \
  --pretrained_model_name_or_path="base.safetensors" \
  --train_data_dir "DATA" --output_dir out --output_name "red backpack" \
  --network_module networks.lora --network_dim 16 --network_args "conv_dim=8" "conv_alpha=4" \
  --resolution "1024,1024" --enable_bucket --train_batch_size 2 --max_train_epochs 3 \
  --learning_rate 1e-4 --unet_lr 2e-4 --text_encoder_lr 5e-5 1e-5 \
  --optimizer_type AdamW8bit --optimizer_args "weight_decay=0.1" "betas=0.9,0.99" \
  --lr_scheduler cosine --lr_warmup_steps 0.1 --mixed_precision bf16 --seed 7 \
  --min_snr_gamma 5 --noise_offset 0.05 --gradient_checkpointing --xformers --no_half_vae \
  --clip_skip 2 --max_token_length 225 --save_every_n_epochs 1 --frobnicate 3 && echo done
"""


def kohya_batches_by_its_rule(sizes: list[tuple[int, int]], repeats: int, batch: int, *, side: int = 1024) -> int:
    """An epoch's batches as sd-scripts' own documents tell it: buckets in steps of 64, short batches kept."""
    ladder = {(math.isqrt(side * side) // 64 * 64,) * 2}
    for width in range(256, 1024 + 1, 64):
        height = min(1024, side * side // width // 64 * 64)
        ladder |= {(width, height), (height, width)} if height >= 256 else set()
    ordered = sorted(ladder)
    chosen = Counter(
        min(ordered, key=lambda bucket: abs(bucket[0] / bucket[1] - width / height)) for width, height in sizes
    )
    return sum(math.ceil(count * repeats / batch) for count in chosen.values())


def planned(config: TrainConfig, base: Path, cache: Path) -> Any:
    """The plan of an imported run, on a small base instead of its own."""
    small = {
        "model": config.model.model_copy(update={"base": str(base), "vae": None}),
        "data": config.data.model_copy(update={"resolution": 64, "cache_folder": cache}),
    }
    return plan_run(config.model_copy(update=small))


def test_a_command_line_is_carried_over(tmp_path: Path, tiny_base: Path) -> None:
    tree = tmp_path / "data"
    lay_pictures(tree / "10_sks backpack", SHAPES)
    imported = bring_in("kohya", write(tmp_path / "train.sh", SCRIPT.replace("DATA", str(tree))))
    config = imported.config
    assert config.model.base == "base.safetensors"
    assert (config.data.instance_images, config.data.instance_prompt) == (tree / "10_sks backpack", "sks backpack")
    assert (config.data.repeats, config.data.resolution, config.data.buckets) == (10, 1024, True)
    assert (config.output.folder, config.output.name) == (Path("out/red backpack"), "red backpack")
    assert config.optimizer.model_dump(include={"name", "learning_rate", "weight_decay", "beta1", "beta2", "eps"}) == {
        "name": "adamw", "learning_rate": 2e-4, "weight_decay": 0.1, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8,
    }  # fmt: skip
    assert (config.schedule.lr_schedule, config.runtime.precision, config.runtime.seed) == ("cosine", "bf16", 7)
    assert (config.objective.snr_gamma, config.objective.noise_offset) == (5.0, 0.05)
    assert (config.text.long_prompts, config.text.clip_skip) == ("chunks", 0)
    assert not config.tokens.enabled
    assert unknown(imported) == {"frobnicate"}
    assert "conv_dim = 8" in lost(imported)
    assert "clip skip counts differently" in traps(imported)
    expected = 3 * kohya_batches_by_its_rule(SHAPES, 10, 2)
    assert planned(config, tiny_base, tmp_path / "cache").steps == config.schedule.steps == expected
    assert config.schedule.warmup_steps == int(0.1 * expected)
    assert config.checkpoint.every == expected // 3


def test_alpha_1_at_dim_16_is_a_sixteenth_and_said_so(tmp_path: Path) -> None:
    imported = bring_in(
        "kohya", write(tmp_path / "a.toml", "network_dim = 16\nmax_train_steps = 100\n[x]\nunet_lr = 1e-4\n")
    )
    assert scale(imported) == 1 / 16
    assert "scales the LoRA by 0.0625" in traps(imported)


@pytest.mark.parametrize(("dim", "alpha"), [(4, None), (32, 16), (8, 8), (128, 64.5)])
def test_the_scale_is_what_it_was(tmp_path: Path, dim: int, alpha: float | None) -> None:
    said = f"network_dim = {dim}\n" + (f"network_alpha = {alpha}\n" if alpha is not None else "")
    imported = bring_in("kohya", write(tmp_path / "a.toml", said))
    assert scale(imported) == (1 if alpha is None else alpha) / dim
    assert ("alpha beside rank" in traps(imported)) == (alpha != dim)


def test_nothing_said_is_sd_scripts_default_and_not_ours(tmp_path: Path) -> None:
    config = bring_in("kohya", write(tmp_path / "a.toml", 'network_module = "networks.lora"')).config
    assert (config.adapter.rank, config.adapter.alpha, config.schedule.steps) == (4, 1.0, 1600)
    assert (config.optimizer.name, config.optimizer.learning_rate) == ("adamw", 2e-6)
    assert config.adapter.text_encoders
    assert (config.schedule.batch_size, config.runtime.precision, config.objective.snr_gamma) == (1, "fp32", None)


@pytest.mark.parametrize(("accumulation", "batch", "epochs"), [(1, 1, 2), (4, 3, 5), (3, 2, 1)])
def test_epochs_are_counted_as_there_batches_and_accumulation(
    tmp_path: Path, tiny_base: Path, accumulation: int, batch: int, epochs: int
) -> None:
    lay_pictures(tmp_path / "data" / "7_x", SHAPES)
    imported = bring_in("kohya", write(tmp_path / "a.toml", (
        f'train_data_dir = "{tmp_path / "data"}"\nmax_train_epochs = {epochs}\ntrain_batch_size = {batch}\n'
        f'gradient_accumulation_steps = {accumulation}\nenable_bucket = true\nresolution = "1024"\nmax_train_steps = 9'
    )))  # fmt: skip
    expected = epochs * math.ceil(kohya_batches_by_its_rule(SHAPES, 7, batch) / accumulation)
    assert planned(imported.config, tiny_base, tmp_path / "cache").steps == expected


def test_reg_images_double_an_epoch_and_halve_the_batch(tmp_path: Path, tiny_base: Path) -> None:
    lay_pictures(tmp_path / "data" / "5_sks dog", [SQUARE] * 4)
    lay_pictures(tmp_path / "reg" / "1_dog", [SQUARE] * 6)
    imported = bring_in("kohya", write(tmp_path / "a.toml", (
        f'train_data_dir = "{tmp_path / "data"}"\nreg_data_dir = "{tmp_path / "reg"}"\nprior_loss_weight = 0.5\n'
        'train_batch_size = 4\nmax_train_epochs = 3\nresolution = "64"'
    )))  # fmt: skip
    # 4 pictures × 5 repeats = 20 instance images an epoch, and as many reg images: 40 in batches of 4.
    assert planned(imported.config, tiny_base, tmp_path / "cache").steps == 3 * 10
    prior = imported.config.prior
    assert prior is not None
    assert (prior.class_prompt, prior.weight, prior.num_class_images) == ("dog", 0.5, 6)
    assert prior.class_images == tmp_path / "reg" / "1_dog"
    assert imported.config.schedule.batch_size == 2
    assert "reg images double an epoch" in traps(imported)


def test_more_reg_images_than_are_shown_are_left_out_as_there(tmp_path: Path) -> None:
    lay_pictures(tmp_path / "data" / "1_sks dog", [SQUARE] * 3)
    lay_pictures(tmp_path / "reg" / "1_dog", [SQUARE] * 5)
    imported = bring_in("kohya", write(tmp_path / "a.toml", (
        f'train_data_dir = "{tmp_path / "data"}"\nreg_data_dir = "{tmp_path / "reg"}"\nmax_train_epochs = 2'
    )))  # fmt: skip
    assert imported.config.schedule.steps == 2 * 6
    assert imported.config.prior is not None
    assert imported.config.prior.num_class_images == 3
    assert "would never show 2 of them" in traps(imported)


DATA_SET = """
[general]
caption_extension = ".txt"
keep_tokens = 1
shuffle_caption = true

[[datasets]]
resolution = [768, 1024]
batch_size = 2
enable_bucket = true
bucket_no_upscale = true

  [[datasets.subsets]]
  image_dir = "FIRST"
  num_repeats = 4
  class_tokens = "sks one"

  [[datasets.subsets]]
  image_dir = "SECOND"
  num_repeats = 6
  flip_aug = true
  colour_of_the_sky = "blue"
"""


def data_set(tmp_path: Path) -> Path:
    first = lay_pictures(tmp_path / "first", [(600, 800), (900, 900)])
    second = lay_pictures(tmp_path / "second", [(1500, 1500)] * 3, caption="tag one, tag two")
    return write(tmp_path / "set.toml", DATA_SET.replace("FIRST", str(first)).replace("SECOND", str(second)))


def test_a_data_set_file_beside_a_training_file(tmp_path: Path) -> None:
    training = write(
        tmp_path / "a.toml", f'[t]\nnetwork_dim = 8\nmax_train_epochs = 1\ndataset_config = "{data_set(tmp_path)}"'
    )
    imported = bring_in("kohya", training)
    # Not enlarged: 576×768 and 896×896; shrunk to the area of 768×1024: 832×832 or so. Each its own bucket.
    assert imported.config.schedule.steps == math.ceil(4 / 2) + math.ceil(4 / 2) + math.ceil(18 / 2)
    assert imported.config.data.instance_images == tmp_path / "first"
    assert imported.config.data.repeats == 4
    assert imported.config.data.flip
    assert imported.config.data.resolution == 896  # of the same area, in steps of 32
    assert "width and height" in traps(imported)
    assert "bucket_no_upscale" in traps(imported)
    assert f"{tmp_path / 'second'}, 6 repeats → lorasmith reads one folder" in lost(imported)
    assert unknown(imported) == {"datasets[0].subsets[1].colour_of_the_sky"}


def test_several_folders_are_gathered_with_their_captions_and_repeats(tmp_path: Path, tiny_base: Path) -> None:
    training = write(tmp_path / "a.toml", "network_dim = 8\nmax_train_epochs = 1")
    imported = bring_in("kohya", training, data_set(tmp_path), gather_to=tmp_path / "gathered")
    lines = (tmp_path / "gathered" / "metadata.jsonl").read_text().splitlines()
    assert sum("sks one" in line for line in lines) == 2 * 2  # two pictures, 4 ÷ 2 times each
    assert sum("tag one, tag two" in line for line in lines) == 3 * 3
    assert imported.config.data.repeats == 2
    plan = planned(imported.config, tiny_base, tmp_path / "cache")
    assert plan.instance_images * plan.repeats == 2 * 4 + 3 * 6
    with pytest.raises(ConfigError, match="not empty"):
        bring_in("kohya", training, tmp_path / "set.toml", gather_to=tmp_path / "gathered")


def test_a_folder_alone_is_enough_and_the_inner_one_is_told_of(tmp_path: Path) -> None:
    lay_pictures(tmp_path / "data" / "3_x y", [SQUARE])
    (tmp_path / "data" / "notes").mkdir()
    config = bring_in("kohya", tmp_path / "data").config
    assert (config.data.repeats, config.data.instance_prompt) == (3, "x y")
    with pytest.raises(ConfigError, match=r"there is no folder such as.*Name the folder around it"):
        bring_in("kohya", tmp_path / "data" / "3_x y")


def test_txt_captions_that_would_not_have_been_read_are_told_of(tmp_path: Path) -> None:
    lay_pictures(tmp_path / "data" / "1_sks", [SQUARE] * 2, caption="a fine caption")
    imported = bring_in("kohya", tmp_path / "data")
    assert "would not have read 2 .txt files and would have trained on 'sks' instead" in traps(imported)


def test_only_the_first_line_is_gathered(tmp_path: Path) -> None:
    lay_pictures(tmp_path / "data" / "1_sks", [SQUARE], caption="first\nsecond", suffix=".caption")
    assert "captions of several lines" in traps(bring_in("kohya", tmp_path / "data"))
    bring_in("kohya", tmp_path / "data", gather_to=tmp_path / "gathered")
    assert (
        tmp_path / "gathered" / "metadata.jsonl"
    ).read_text() == '{"file_name": "00000-picture-00.png", "text": "first"}\n'


@pytest.mark.parametrize(
    ("said", "trains", "first", "trap"),
    [
        ("unet_lr = 1e-4\nlearning_rate = 3e-5", True, 3e-5, "text encoders train by default"),
        ("network_train_unet_only = true", False, None, ""),
        ("unet_lr = 1e-4\ntext_encoder_lr = 0", False, None, "a rate of 0 for the text encoders"),
        ("unet_lr = 1e-4\ntext_encoder_lr = [5e-5, 1e-5]", True, 5e-5, "drops the second for SDXL"),
    ],
)
def test_whether_text_encoders_train(tmp_path: Path, said: str, trains: bool, first: float | None, trap: str) -> None:
    imported = bring_in("kohya", write(tmp_path / "a.toml", f"network_dim = 8\n{said}"))
    config = imported.config
    assert config.adapter.text_encoders is trains
    assert (config.rates.text_encoder_1, config.rates.text_encoder_2) == (first, first)
    assert trap in traps(imported)


@pytest.mark.parametrize(
    ("said", "ours", "values"),
    [
        ("optimizer_type = 'Prodigy'\nlearning_rate = 1.0\n"
         "optimizer_args = ['d_coef=2', 'use_bias_correction=True', 'safeguard_warmup=True']",
         "prodigy", {"d_coef": 2, "use_bias_correction": True, "safeguard_warmup": True, "weight_decay": 0.0}),
        ("optimizer_type = 'Adafactor'\nlearning_rate = 4e-4\n"
         "optimizer_args = ['relative_step=False', 'scale_parameter=False', 'warmup_init=False']",
         "adafactor", {"learning_rate": 4e-4, "scale_parameter": False}),
        ("optimizer_type = 'prodigyplus.ProdigyPlusScheduleFree'\nlearning_rate = 1",
         "schedule_free_prodigy", {"learning_rate": 1.0}),
        ("optimizer_type = 'Lion'\nlearning_rate = 3e-5", "adamw", {"learning_rate": 3e-5}),
        ("optimizer_type = 'DAdaptAdam'\nlearning_rate = 1", "prodigy", {"learning_rate": 1.0}),
        ("use_8bit_adam = true", "adamw", {"eight_bit": True}),
    ],
)  # fmt: skip
def test_optimizers_and_their_arguments(tmp_path: Path, said: str, ours: str, values: dict[str, object]) -> None:
    imported = bring_in("kohya", write(tmp_path / "a.toml", f"network_dim = 8\n{said}"))
    optimizer = imported.config.optimizer
    assert optimizer.name == ours
    assert optimizer.model_dump(include=set(values)) == values
    if "Lion" in said:
        assert "AdamW at the same learning rate: check it" in lost(imported)


def test_prodigy_with_two_rates_and_adafactor_with_its_own_are_told_of(tmp_path: Path) -> None:
    said = "optimizer_type = 'Prodigy'\nunet_lr = 1.0\ntext_encoder_lr = 0.5\nnetwork_dim = 8"
    assert "Prodigy with several rates" in traps(bring_in("kohya", write(tmp_path / "a.toml", said)))
    imported = bring_in("kohya", write(tmp_path / "b.toml", "optimizer_type = 'Adafactor'\nnetwork_dim = 8"))
    assert imported.config.optimizer.learning_rate == 1e-4
    assert "finds its own rate" in lost(imported)


def test_min_snr_on_velocity_lycoris_and_captions_options_are_told_of(tmp_path: Path) -> None:
    imported = bring_in("kohya", write(tmp_path / "a.toml", (
        'network_module = "lycoris.kohya"\nnetwork_args = ["algo=lokr", "factor=8"]\nv_parameterization = true\n'
        'min_snr_gamma = 5\nzero_terminal_snr = true\nloss_type = "huber"\nmultires_noise_iterations = 6\n'
        'caption_prefix = "x"\nscale_weight_norms = 1.0'
    )))  # fmt: skip
    assert imported.config.model.prediction == "v_prediction"
    assert "min-SNR on a base that predicts velocity" in traps(imported)
    assert "LyCORIS is another kind of adapter" in traps(imported)
    told = lost(imported)
    for word in (
        "factor = 8",
        "zero_terminal_snr",
        "loss_type = huber",
        "multires_noise_iterations = 6",
        "scale_weight_norms",
    ):
        assert word in told


def test_what_varies_in_captions_and_what_counts_of_pictures(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    said = (
        f'train_data_dir = "{tmp_path / "data"}"\nshuffle_caption = true\nkeep_tokens = 2\ncaption_dropout_rate = 0.1\n'
        f'caption_tag_dropout_rate = 0.2\nenable_wildcard = true\nconditioning_data_dir = "{masks}"\n'
    )
    lay_pictures(tmp_path / "data" / "1_x", [SQUARE])
    data = bring_in("kohya", write(tmp_path / "a.toml", f"{said}masked_loss = true")).config.data
    assert (data.shuffle_tags, data.keep_tags, data.caption_dropout, data.tag_dropout) == (True, 2, 0.1, 0.2)
    assert (data.wildcards, data.caption_lines, data.masks, data.use_masks) == (True, "several", masks, True)
    data = bring_in("kohya", write(tmp_path / "b.toml", said)).config.data
    assert (data.masks, data.use_masks) == (None, False), "without masked_loss sd-scripts learns whole pictures"


def test_flags_overrule_the_config_file_and_quoted_values_keep_their_blanks(tmp_path: Path) -> None:
    write(tmp_path / "base.toml", 'network_dim = 64\n[more]\nnetwork_alpha = 32\noutput_name = "a"')
    flags = f"--config_file={tmp_path / 'base'} --network_dim 16 --output_name 'a b' --output_dir o"
    line = f"python sdxl_train_network.py {flags}"
    config = bring_in("kohya", write(tmp_path / "train.sh", line)).config
    assert (config.adapter.rank, config.adapter.alpha, config.output.name) == (16, 32, "a b")


def test_windows_lines_go_on(tmp_path: Path) -> None:
    line = "accelerate launch train_network.py ^\r\n  --network_dim=8 ^\r\n  --network_alpha=4\r\n"
    assert scale(bring_in("kohya", write(tmp_path / "train.bat", line))) == 0.5


def test_epochs_without_the_pictures_stay_epochs(tmp_path: Path) -> None:
    imported = bring_in("kohya", write(tmp_path / "a.toml", 'train_data_dir = "/not/here"\nmax_train_epochs = 4'))
    assert (imported.config.schedule.steps, imported.config.schedule.epochs) == (None, 4)
    assert "the pictures are not there to count" in lost(imported)
    assert "/not/here is not there from here" in lost(imported)


def test_sample_prompts_and_their_rhythm(tmp_path: Path) -> None:
    prompts = write(tmp_path / "p.txt", "# note\na dog --n bad --w 512\n\na cat\n")
    said = f'network_dim = 8\nsample_prompts = "{prompts}"\nsample_every_n_steps = 50'
    config = bring_in("kohya", write(tmp_path / "a.toml", said)).config
    assert (config.validation.prompts, config.validation.every) == (("a dog", "a cat"), 50)


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.json", '{"LoRA_type": "Standard", "max_resolution": "1024", "network_dim": 8}', "Print training command"),
        ("a.yaml", "job: extension\nconfig: {}", "an ai-toolkit config"),
        ("a.json", '{"training_method": "LORA", "base_model_name": "x"}', "lorasmith import onetrainer"),
        ("a.toml", "[adapter]\nrank = 8\n[schedule]\nsteps = 5", "a config of lorasmith"),
        ("a.toml", "title = 'x'", "none of its keys is one of kohya's"),
        ("a.sh", "python other.py --verbose", "there is no command line with its flags"),
        ("a.sh", "sdxl_train_network.py --network_dim '8", "is not a command line"),
        ("a.toml", "network_dim = ", "is not TOML"),
        ("a.toml", "network_dim = 'many'", "network_dim is many and must be a number"),
        ("a.toml", "network_dim = 4000", "adapter.rank"),
        ("a.toml", "network_dim = 8\nmixed_precision = 'fp8'", "is not a precision"),
    ],
)
def test_what_is_not_kohyas_or_cannot_be_ours_is_refused(tmp_path: Path, name: str, content: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        bring_in("kohya", write(tmp_path / name, content))
