"""Owns turning a trained run into exports: takes its weights out, draws the card's pictures, writes and reads back."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from lorasmith.config.train import TrainConfig
from lorasmith.events import Emit, ExportWritten, Notice, ignore
from lorasmith.export.bake import bake
from lorasmith.export.from_peft import adapter_weights
from lorasmith.export.info import CardPicture, ExportInfo
from lorasmith.export.weights import (
    AdapterWeights,
    BakedAdapters,
    ConceptRows,
    ModuleAdapter,
    NewTokenRows,
    Part,
    PartAdapter,
)
from lorasmith.export.write import ExportedFile
from lorasmith.export.write_all import write_exports
from lorasmith.models.family import EdmSchedule, NoiseSchedule
from lorasmith.run_folder import RunFolder
from lorasmith.runs.prepare import PreparedRun
from lorasmith.runs.sampling import ValidationSampler
from lorasmith.sizes import Size
from lorasmith.training.assemble import vocabulary_of
from lorasmith.training.loop import Training
from lorasmith.training.plan import RunPlan

_CARD_PICTURES = 4
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


def export_run(config: TrainConfig, plan: RunPlan, prepared: PreparedRun, folder: RunFolder, emit: Emit) -> None:
    """Write everything other programs read into the export folder, and say so file by file."""
    pictures = card_pictures(config, plan, prepared, folder)
    for file in export_training(config, plan, prepared.training, folder.export, pictures=pictures, emit=emit):
        emit(ExportWritten(file.path, file.readers))


def export_training(
    config: TrainConfig,
    plan: RunPlan,
    training: Training,
    folder: Path,
    *,
    pictures: Sequence[CardPicture] = (),
    emit: Emit = ignore,
) -> tuple[ExportedFile, ...]:
    """Write what is trained, as it stands, into a folder; the card shows `pictures`."""
    weights = in_precision(_adapters(config, training, emit), _DTYPES[config.output.precision])
    rows, info = new_token_rows(config, training), export_info(config, plan, training)
    return write_exports(folder, weights, rows=rows, info=info, pictures=pictures)


def new_token_rows(config: TrainConfig, training: Training) -> NewTokenRows:
    """The new tokens' rows by concept; none when none were used."""
    if not training.new_tokens:
        return NewTokenRows()
    first, second = (training.new_tokens[name].rows.detach().cpu() for name in ("new_tokens_1", "new_tokens_2"))
    concepts: list[ConceptRows] = []
    start = 0
    for abstraction in vocabulary_of(config).abstractions:
        end = start + len(abstraction.tokens)
        concepts.append(
            ConceptRows(
                abstraction.word,
                abstraction.tokens,
                first[start:end].clone(),
                second[start:end].clone(),
                abstraction.look_alike,
            )
        )
        start = end
    return NewTokenRows(tuple(concepts))


def export_info(config: TrainConfig, plan: RunPlan, training: Training) -> ExportInfo:
    """What the headers and the model card say of a run; nothing of where or when it was."""
    return ExportInfo(
        name=plan.name,
        base=plan.base,
        prediction_type=training.family.noise_schedule.prediction_type,
        resolution=Size(plan.resolution, plan.resolution),
        steps=plan.steps,
        instance_prompt=config.data.instance_prompt or _first_mention(config, training),
        captions=training.instance_captions,
        pictures=plan.instance_images,
        class_images=plan.class_images,
        pivot_step=plan.pivot_step,
        optimizer=plan.optimizer,
        rates={part: rate for phase in plan.phases for part, rate in phase.rates.items()},
        batch_size=plan.batch_size,
        accumulation=plan.gradient_accumulation,
        seed=config.runtime.seed,
        settings=_settings(config),
        text=config.text,
        revision=config.model.revision,
        scheduler_settings=_scheduler_settings(training.family.noise_schedule),
    )


def _scheduler_settings(noise: NoiseSchedule | EdmSchedule) -> dict[str, str | bool]:
    """How the base's noise differs from SDXL's, in the words of diffusers' schedulers."""
    if isinstance(noise, EdmSchedule) or noise.prediction_type == "epsilon":
        return {}
    ends_in_noise = float(noise.alphas_cumprod[-1]) == 0
    zero: dict[str, str | bool] = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return {"prediction_type": "v_prediction", **(zero if ends_in_noise else {})}


def in_precision(weights: AdapterWeights, dtype: torch.dtype) -> AdapterWeights:
    """The same adapters with every tensor in `dtype`."""
    if dtype is torch.float32:
        return weights

    def cast_module(module: ModuleAdapter) -> ModuleAdapter:
        magnitude: Tensor | None = None if module.magnitude is None else module.magnitude.to(dtype)
        return ModuleAdapter(module.down.to(dtype), module.up.to(dtype), magnitude)

    def cast_parts(parts: Mapping[Part, PartAdapter]) -> dict[Part, PartAdapter]:
        return {
            part: replace(adapter, modules={path: cast_module(module) for path, module in adapter.modules.items()})
            for part, adapter in parts.items()
        }

    baked = None if weights.baked is None else replace(weights.baked, parts=cast_parts(weights.baked.parts))
    return replace(weights, parts=cast_parts(weights.parts), baked=baked)


def _adapters(config: TrainConfig, training: Training, emit: Emit) -> AdapterWeights:
    """The adapters of the parts that trained; a DoRA as plain LoRA too, unless it is not to be baked."""
    adapted = {name: part for name, part in training.family.parts.items() if name in training.parts}
    parts = cast(dict[Part, torch.nn.Module], adapted)
    weights = replace(adapter_weights(parts), roles=config.adapter.roles)
    if weights.kind == "lora" or config.output.baked_rank == 0:
        return weights
    baked = bake(weights, parts, rank=config.output.baked_rank)
    emit(Notice(_what_baking_lost(baked)))
    return replace(weights, baked=baked)


def _what_baking_lost(baked: BakedAdapters) -> str:
    layer, worst = baked.worst
    ranks = " and ".join(map(str, sorted({adapter.rank for adapter in baked.parts.values()})))
    return (
        f"The DoRA was baked to a plain LoRA of rank {ranks} for other programs: what it changes is off by "
        f"{baked.total_error:.1%} (a layer by {baked.mean_error:.1%} on average, by {worst:.1%} at most: {layer}). "
        "output.baked_rank sets another rank."
    )


def card_pictures(
    config: TrainConfig, plan: RunPlan, prepared: PreparedRun, folder: RunFolder
) -> tuple[CardPicture, ...]:
    """Pictures drawn with the adapter and the new tokens in place: the last validation's, else of the captions."""
    training = prepared.training
    prompts = config.validation.prompts or tuple(dict.fromkeys(training.instance_captions))[:_CARD_PICTURES]
    settings = config.validation.model_copy(update={"prompts": prompts})
    sampler = ValidationSampler(
        prepared.pipeline, vocabulary_of(config), settings, folder.samples,
        seed=config.runtime.seed, size=prepared.size, base=plan.base, text=config.text,
    )  # fmt: skip
    drawn = sampler.already_drawn(plan.steps)
    if drawn is None:
        with training.precision.autocast():
            drawn = sampler.draw(plan.steps)
    pairs: list[tuple[Path, str]] = list(zip(drawn.pictures, drawn.prompts, strict=True))
    return tuple(CardPicture(path, prompt) for path, prompt in pairs[:_CARD_PICTURES])


def _first_mention(config: TrainConfig, training: Training) -> str:
    vocabulary = vocabulary_of(config)
    mentions = [caption for caption in training.instance_captions if vocabulary.is_mentioned_in(caption)]
    return (mentions or [*training.instance_captions, ""])[0]


def _settings(config: TrainConfig) -> dict[str, str | int | float]:
    settings: dict[str, str | int | float] = {
        "lr_schedule": config.schedule.lr_schedule,
        "warmup_steps": config.schedule.warmup_steps,
        "noise_offset": config.objective.noise_offset,
        "repeats": config.data.repeats,
        "targets": config.adapter.chosen_targets,
    }
    if config.objective.snr_gamma is not None:
        settings["snr_gamma"] = config.objective.snr_gamma
    if config.prior is not None:
        settings["prior_loss_weight"] = config.prior.weight
    return settings
