"""Owns finding out what a run will do without loading any weights: the use case behind `--dry-run`."""

import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from lorasmith.config.train import TrainConfig
from lorasmith.data.caption_variants import longest_captions, possible_captions
from lorasmith.data.class_images import class_images as class_image_files
from lorasmith.data.examples import Example
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.events import Emit, Notice, ignore
from lorasmith.models.family import EdmSchedule, NoiseSchedule
from lorasmith.models.long_prompts import MOST_CHUNKS, long_prompt, room
from lorasmith.models.sdxl import cost
from lorasmith.models.sdxl.components import check_base, locate_base
from lorasmith.models.sdxl.noise import noise_schedule
from lorasmith.models.sdxl.text import check_clip_skip, open_tokenizer
from lorasmith.objectives.choice import objective_for
from lorasmith.optim.extras import refuse_missing_package
from lorasmith.run_folder import RunFolder
from lorasmith.runs import pictures
from lorasmith.runs.adapters import check_b_lora, planned_adapters
from lorasmith.sizes import Size
from lorasmith.tokens.attach import add_to_tokenizer
from lorasmith.tracking.choice import trackers_of
from lorasmith.training.assemble import vocabulary_of
from lorasmith.training.plan import BaseFacts, CaptionFacts, Facts, MaskFacts, PromptFacts, RunPlan, make_plan
from lorasmith.training.precision import Precision, resolve_device, resolve_precision

_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
# Kept activations against the outputs of all leaf modules; 1.3 matches what SDXL takes at 1024 px in bf16.
_KEPT = 1.3
_SHARE_OF_PEAK = 0.25
_MANY = 10**9


@dataclass(frozen=True)
class Survey:
    """What a run will do, with what was read to find it out."""

    plan: RunPlan
    instance: tuple[Example, ...]
    base_folder: Path
    resolution: int


def plan_run(config: TrainConfig, emit: Emit = ignore) -> RunPlan:
    """The plan of a run, from its config, its pictures and the base's small files."""
    return survey(config, emit).plan


def survey(config: TrainConfig, emit: Emit = ignore) -> Survey:
    """Read the pictures and the base's small files, and plan."""
    trackers_of(config)  # refuses those that are not installed
    refuse_missing_package(config.optimizer)
    base_folder = locate_base(config.model, with_weights=False)
    check_base(config.model, base_folder)
    _check_objective(config, base_folder, emit)
    check_clip_skip(config.text.clip_skip, cost.text_layers(base_folder))
    check_b_lora(config, base_folder, emit)
    resolution = config.data.resolution or cost.native_size(base_folder).height
    # Two halvings in the UNet on top of the VAE's.
    pictures.check_resolution(resolution, multiple=4 * cost.latent_scale(base_folder))
    instance = pictures.instance_images(config, emit)
    facts = gather_facts(config, instance, base_folder, resolution)
    return Survey(make_plan(config, facts), instance, base_folder, resolution)


def _check_objective(config: TrainConfig, base_folder: Path, emit: Emit) -> None:
    """Refuse an objective that the base's noise rules out, and name one that does nothing there."""
    schedule = _noise(config, base_folder)
    objective_for(schedule, config.objective)
    if config.objective.edm_style and isinstance(schedule, EdmSchedule):
        emit(Notice("objective.edm_style has no effect: the base has an EDM scheduler and is trained its own way."))
    elif config.objective.edm_style and schedule.prediction_type == "epsilon":
        emit(Notice("objective.edm_style changes nothing on a base that predicts noise: the two losses are the same."))


def _noise(config: TrainConfig, base_folder: Path) -> NoiseSchedule | EdmSchedule:
    said = config.model.prediction
    return noise_schedule(cost.scheduler_config(base_folder), None if said == "auto" else said)


def gather_facts(config: TrainConfig, instance: tuple[Example, ...], base_folder: Path, resolution: int) -> Facts:
    """Everything the plan depends on besides the config."""
    device = resolve_device(config.runtime.device)
    precision = resolve_precision(config.runtime.precision, device)
    sets = pictures.deal(config, instance, (), resolution)
    wanted = config.prior.class_images_used if config.prior else 0
    present = len(class_image_files(class_image_folder(config))) if wanted else 0
    return Facts(
        instance_images=len(sets.training),
        held_out_images=len(sets.held_out),
        class_images=wanted,
        class_images_missing=max(0, wanted - present),
        micro_steps_per_epoch=sets.order.micro_steps_per_epoch,
        buckets=tuple(sets.order.bucket_counts.items()),
        base=_base_facts(config, base_folder, resolution, precision),
        device=device.type,
        precision=precision.name,
        device_flops=measured_flops(device, precision) * _SHARE_OF_PEAK,
        prompts=_prompt_facts(config, instance, base_folder),
        captions=_caption_facts(config, sets.training),
        masks=_mask_facts(config, sets.training),
    )


def _caption_facts(config: TrainConfig, examples: tuple[Example, ...]) -> CaptionFacts:
    options = pictures.caption_options(config)
    possible = sum(possible_captions(one, options) for one in examples)
    return CaptionFacts(sum(max(1, len(one.wordings)) for one in examples), min(_MANY, possible))


def _mask_facts(config: TrainConfig, examples: tuple[Example, ...]) -> MaskFacts:
    masked = sum(one.mask is not None for one in examples)
    return MaskFacts(masked, len(examples) - masked if config.data.mask_words else 0)


def _prompt_facts(config: TrainConfig, instance: tuple[Example, ...], base_folder: Path) -> PromptFacts:
    """The run's different prompts, and those that are longer than is read at once; refuses books."""
    vocabulary, tokenizer = vocabulary_of(config), open_tokenizer(base_folder)
    add_to_tokenizer(tokenizer, vocabulary.tokens, rows_in_table=len(tokenizer))
    class_prompts = (config.prior.class_prompt,) if config.prior and config.prior.class_images_used else ()
    twins = pictures.class_captions(config, instance).values()
    longest = [caption for one in instance for caption in longest_captions(one)]
    captions = dict.fromkeys([*longest, *class_prompts, *twins, *config.validation.prompts])
    found = [(caption, long_prompt(tokenizer, vocabulary.expand(caption))) for caption in captions]
    long = [replace(one, prompt=shown(text), unread_text=shown(one.unread_text)) for text, one in found if one]
    books = [one for one in long if one.chunks > MOST_CHUNKS]
    if books and config.text.long_prompts == "chunks":
        raise DataError(
            f"a prompt of {books[0].tokens} tokens makes {books[0].chunks} chunks, and {MOST_CHUNKS} are the most: "
            f"{books[0].prompt}",
            where="text.long_prompts", remedy="Shorten it, or cut long prompts.",
        )  # fmt: skip
    return PromptFacts(len(captions), room(tokenizer), tuple(long))


def class_image_folder(config: TrainConfig) -> Path:
    """Where the run's class images are."""
    named = config.prior.class_images if config.prior else None
    return named.expanduser() if named else RunFolder(config.output.folder).class_images


def measured_flops(device: torch.device, precision: Precision) -> float:
    """Operations a second of this device in a large product, measured for a moment."""
    side = 4096 if device.type == "cuda" else 512
    matrix = torch.ones(side, side, device=device, dtype=precision.dtype)
    best = float("inf")
    for _ in range(3):
        started = time.monotonic()
        (matrix @ matrix)[0, 0].item()
        best = min(best, time.monotonic() - started)
    return 2 * side**3 / max(best, 1e-6)


def _base_facts(config: TrainConfig, folder: Path, resolution: int, precision: Precision) -> BaseFacts:
    spent = cost.step_cost(folder, Size(resolution, resolution))
    size = _BYTES[precision.name]
    tokens = len(config.tokens.abstractions) * config.tokens.per_abstraction if config.tokens.enabled else 0
    return BaseFacts(
        name=config.model.base,
        is_embedded=config.model.base == "embedded",
        resolution=resolution,
        prediction_type=_noise(config, folder).prediction_type,
        weight_bytes=(spent.denoiser_parameters + spent.text_encoder_parameters) * size + spent.vae_parameters * 4,
        adapters=planned_adapters(config, folder),
        new_token_parameters=tokens * sum(spent.token_widths),
        step_flops=spent.flops,
        activation_bytes=int(spent.activation_elements * size * _KEPT),
    )
