"""Owns the table of the 81 flags of diffusers' advanced SDXL DreamBooth script and what each means here.

A command line that names the base or the pictures in the script's way (`--pretrained_model_name_or_path`,
`--instance_data_dir` or `--dataset_name`) is read in the script's manner: where nobody says otherwise, the script's
defaults hold (`MANNER_DEFAULTS`, below recipes and files), and new tokens are trained only with
`--train_text_encoder_ti`. Two defaults are left out on purpose: a rate of 1e-4 for Prodigy, with which nothing would
be learnt, and a length of one epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Status = Literal["same", "renamed", "split", "secret", "advice", "command"]
Condition = Literal["always", "prior", "optimizer", "blocks", "text parts"]

MANNER_FLAGS = ("pretrained_model_name_or_path", "instance_data_dir", "dataset_name")


@dataclass(frozen=True)
class ReferenceFlag:
    """One flag of the reference script.

    `paths` are our options; `words` translates its values; `condition` says when it has an effect; `is_switch` flags
    stand alone or take true or false, and the others need a value.
    """

    name: str
    status: Status
    paths: tuple[str, ...]
    note: str
    words: Mapping[str, str] = field(default_factory=dict[str, str])
    condition: Condition = "always"
    is_switch: bool = False

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        return "true or false" if self.is_switch else "a value"


def _same(name: str, path: str, note: str = "", condition: Condition = "always") -> ReferenceFlag:
    return ReferenceFlag(name, "same", (path,), note, condition=condition)


def _renamed(name: str, path: str, note: str = "", condition: Condition = "always") -> ReferenceFlag:
    return ReferenceFlag(name, "renamed", (path,), note, condition=condition)


def _switch(name: str, path: str, note: str = "", *, on: str = "true", off: str = "false") -> ReferenceFlag:
    status: Status = "same" if path.endswith(f".{name}") else "renamed"
    return ReferenceFlag(name, status, (path,), note, words={"true": on, "false": off}, is_switch=True)


def _of_some_optimizers(name: str, path: str, note: str = "", *, is_switch: bool = False) -> ReferenceFlag:
    return ReferenceFlag(name, "renamed", (path,), note, condition="optimizer", is_switch=is_switch)


def _advice(name: str, note: str, *, is_switch: bool = False) -> ReferenceFlag:
    return ReferenceFlag(name, "advice", (), note, is_switch=is_switch)


_BASE_AND_PICTURES = (
    _renamed("pretrained_model_name_or_path", "model.base", "A checkpoint in one .safetensors file will do as well."),
    _renamed(
        "pretrained_vae_model_name_or_path", "model.vae", "A .safetensors file will do as well; it has to fit the base."
    ),
    _same("revision", "model.revision", "For the base alone; the VAE takes its own main branch."),
    _same("variant", "model.variant", "For the base; a VAE without that variant is taken plain (the script breaks)."),
    _renamed(
        "dataset_name",
        "data.dataset",
        "A data set of the hub (`pip install 'lorasmith[hub]'`) at the commit it has when the run starts, or a folder; "
        "a plain folder of pictures, with or without metadata, needs no package.",
    ),
    _renamed("dataset_config_name", "data.dataset_config"),
    _renamed("instance_data_dir", "data.instance_images", "Captions beside the pictures are read too."),
    ReferenceFlag(
        "cache_dir",
        "split",
        ("data.download_folder", "data.cache_folder"),
        "For a data set's downloads and pictures, and for encoded pictures.",
    ),
    _same("image_column", "data.image_column", "Without it the only column of pictures, or `image`; not the first."),
    _same(
        "caption_column",
        "data.caption_column",
        "Without it a column called text, prompt or caption is taken where there is one; the script takes none.",
    ),
    _same("repeats", "data.repeats", "Crop and flip are drawn anew each time, not once per run."),
    _renamed("class_data_dir", "prior.class_images", "Only with --with_prior_preservation.", "prior"),
    _same("instance_prompt", "data.instance_prompt"),
    _renamed("token_abstraction", "tokens.abstractions", "Only whole words are replaced: TOK leaves TOK2 alone."),
    _renamed("num_new_tokens_per_abstraction", "tokens.per_abstraction"),
    _same("class_prompt", "prior.class_prompt", "Only with --with_prior_preservation.", "prior"),
    _same("resolution", "data.resolution", "Without it the base's own (1024 for SDXL)."),
    _switch("center_crop", "data.crop", "Without it crops are random, as in the script.", on="center", off="random"),
    _switch("random_flip", "data.flip", "Drawn anew each epoch, not once per run."),
    ReferenceFlag(
        "image_interpolation_mode",
        "renamed",
        ("data.interpolation",),
        "nearest_exact is nearest.",
        words={"nearest_exact": "nearest"},
    ),
    _switch("cache_latents", "data.cache_latents", "On by default; pictures and captions stay paired."),
)

_PRIOR_AND_VALIDATION = (
    _switch("with_prior_preservation", "prior", off="none"),
    _renamed("prior_loss_weight", "prior.weight", "Only with --with_prior_preservation.", "prior"),
    _same("num_class_images", "prior.num_class_images", "Only with --with_prior_preservation.", "prior"),
    _same("sample_batch_size", "prior.sample_batch_size", "Only with --with_prior_preservation.", "prior"),
    _advice("prior_generation_precision", "Class images are drawn in the run's own precision (--runtime.precision)."),
    _renamed("validation_prompt", "validation.prompts"),
    _renamed("num_validation_images", "validation.count"),
    _renamed("validation_epochs", "validation.every_epochs", "Without it four times a run."),
    _switch("do_edm_style_training", "objective.edm_style", "Not needed for bases with an EDM scheduler."),
)

_PARTS = (
    _switch("train_text_encoder", "adapter.text_encoders", "LoRA on both text encoders; new tokens may train beside."),
    _switch("train_text_encoder_ti", "tokens.enabled", "Pivotal tuning; only the new rows train."),
    _renamed("train_text_encoder_ti_frac", "schedule.pivot", "Counted in steps, not epochs."),
    _renamed("train_text_encoder_frac", "schedule.text_encoder_fraction", "Counted in steps, not epochs."),
    ReferenceFlag(
        "text_encoder_lr",
        "split",
        ("rates.new_tokens_1", "rates.new_tokens_2", "rates.text_encoder_1", "rates.text_encoder_2"),
        "Goes to the text parts that train; 0 is honoured. Without it AdamW takes the script's 5e-6.",
        condition="text parts",
    ),
    _same("clip_skip", "text.clip_skip", "Honoured in every mode, and in every picture that is drawn."),
    _same("rank", "adapter.rank", "For the denoiser and the text encoders; alpha is the rank, as in the script."),
    _renamed("lora_dropout", "adapter.dropout"),
    _switch(
        "use_dora",
        "adapter.kind",
        "On the text encoders too, as in the script; exported baked as well.",
        on="dora",
        off="lora",
    ),
    _switch("use_blora", "adapter.b_lora", "Content and style are exported alone too; overrides --lora_unet_blocks."),
    _renamed(
        "lora_unet_blocks",
        "adapter.blocks",
        "Whole names of blocks with or without `unet.` in front; only that is stripped. An unknown block is refused.",
        "blocks",
    ),
)

_OPTIMIZER_AND_SCHEDULE = (
    _renamed("train_batch_size", "schedule.batch_size"),
    _renamed("num_train_epochs", "schedule.epochs", "--max_train_steps overrides it."),
    _renamed("max_train_steps", "schedule.steps"),
    _renamed("gradient_accumulation_steps", "schedule.gradient_accumulation"),
    _switch("gradient_checkpointing", "runtime.gradient_checkpointing"),
    _same("learning_rate", "optimizer.learning_rate"),
    ReferenceFlag(
        "scale_lr",
        "split",
        ("optimizer.learning_rate",),
        "Multiplies the main rate by batch size and gradient accumulation, once, here.",
        is_switch=True,
    ),
    _renamed("lr_scheduler", "schedule.lr_schedule"),
    _renamed("lr_warmup_steps", "schedule.warmup_steps", "Without effect on `constant`, as in the script."),
    _renamed("lr_num_cycles", "schedule.lr_cycles"),
    _same("lr_power", "schedule.lr_power"),
    _same("snr_gamma", "objective.snr_gamma"),
    _same("noise_offset", "objective.noise_offset"),
    _renamed("optimizer", "optimizer.name", "adafactor and schedule_free_prodigy besides; an unknown name is refused, "
             "not replaced by AdamW."),
    _of_some_optimizers("use_8bit_adam", "optimizer.eight_bit", "Only with AdamW, as in the script; new tokens keep 32 "
                        "bits. Needs `pip install 'lorasmith[gpu]'`.", is_switch=True),
    _renamed("adam_beta1", "optimizer.beta1", "For every optimizer, as in the script."),
    _renamed("adam_beta2", "optimizer.beta2", "For AdamW and Prodigy, as in the script; Adafactor has none."),
    _renamed("adam_epsilon", "optimizer.eps", "For AdamW and Prodigy, as in the script; Adafactor has none."),
    _renamed("adam_weight_decay", "optimizer.weight_decay", "For every optimizer, as in the script."),
    _renamed("adam_weight_decay_text_encoder", "optimizer.text_weight_decay", "0 is honoured."),
    _of_some_optimizers("prodigy_beta3", "optimizer.beta3"),
    _of_some_optimizers("prodigy_decouple", "optimizer.decouple", "False is false.", is_switch=True),
    _of_some_optimizers("prodigy_use_bias_correction", "optimizer.use_bias_correction", "False is false.",
                        is_switch=True),
    _of_some_optimizers("prodigy_safeguard_warmup", "optimizer.safeguard_warmup", "False is false.", is_switch=True),
    _same("max_grad_norm", "runtime.max_grad_norm", "For each part by itself."),
)  # fmt: skip

_MACHINE_AND_OUTPUT = (
    _renamed("output_dir", "output.folder"),
    _same("seed", "runtime.seed", "Without it 0; every draw follows from it."),
    _renamed("checkpointing_steps", "checkpoint.every"),
    _renamed("checkpoints_total_limit", "checkpoint.keep", "Without it the last two are kept."),
    ReferenceFlag(
        "resume_from_checkpoint",
        "command",
        (),
        "Goes on, exactly, with the run in the output folder; with latest it begins one where there is none. Other "
        "options than the run's own are refused. The same as `lorasmith train --resume RUN`.",
    ),
    _advice("dataloader_num_workers", "Pictures are prepared once and cached; there are no worker processes to count."),
    ReferenceFlag(
        "mixed_precision",
        "renamed",
        ("runtime.precision",),
        "no is fp32; adapters and new tokens stay fp32 in any case.",
        words={"no": "fp32"},
    ),
    _switch("allow_tf32", "runtime.allow_tf32", "For convolutions too, and for the run alone."),
    _advice(
        "enable_xformers_memory_efficient_attention",
        "torch's own memory-efficient attention is always on.",
        is_switch=True,
    ),
    _same(
        "report_to",
        "tracking.report_to",
        "tensorboard, wandb, trackio, a comma list, all or none; comet_ml is refused. Without it none, and in the "
        "script tensorboard: every run writes metrics.jsonl and a report, and TensorBoard may not be installed.",
    ),
    _renamed("logging_dir", "tracking.folder", "Inside the run folder, as in the script; without it tracking."),
    _switch(
        "push_to_hub",
        "hub.push",
        "Uploads the exports and the card, never checkpoints or logs; `lorasmith push` completes what failed.",
    ),
    ReferenceFlag(
        "hub_token",
        "secret",
        (),
        "For this command alone and never stored, so a resumed run does not have it. Others can see a secret on a "
        "command line: `hf auth login` or HF_TOKEN is better.",
    ),
    _renamed("hub_model_id", "hub.repo", "Without it `user/` and the export's name."),
    _advice("local_rank", "The launcher tells each process its rank."),
)

REFERENCE_FLAGS: Mapping[str, ReferenceFlag] = {
    flag.name: flag
    for group in (_BASE_AND_PICTURES, _PRIOR_AND_VALIDATION, _PARTS, _OPTIMIZER_AND_SCHEDULE, _MACHINE_AND_OUTPUT)
    for flag in group
}

MANNER_DEFAULTS: Mapping[str, object] = {
    "tokens.enabled": False,
    "data.crop": "random",
    "optimizer.name": "adamw",
    "schedule.batch_size": 4,
    "schedule.warmup_steps": 500,
    "adapter.rank": 4,
    "adapter.targets": "attention",
    "validation.count": 4,
    "checkpoint.every": 500,
}
PRODIGY_MANNER_DEFAULTS: Mapping[str, object] = {"optimizer.beta2": 0.999, "optimizer.weight_decay": 1e-4}
TEXT_RATE_IN_MANNER = 5e-6
