# pyright: reportUnknownMemberType=false, reportPrivateImportUsage=false
# diffusers' networks are only partly typed.
"""Owns getting a run ready for its first step: opens the base, draws class images, encodes pictures, attaches parts."""

from dataclasses import dataclass

from diffusers import StableDiffusionXLPipeline

from lorasmith.config.train import TrainConfig
from lorasmith.data.buckets import targets_of
from lorasmith.data.examples import Draw, Example
from lorasmith.data.order import fixed_draws
from lorasmith.data.views import AROUND_MASKS, AS_IT_IS, has_few_views
from lorasmith.data.wording import counted
from lorasmith.events import Emit, Notice
from lorasmith.inference.pipeline import pipeline_from_components
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.run_folder import RunFolder
from lorasmith.runs import pictures
from lorasmith.runs.masks import with_masks_from_words
from lorasmith.runs.plan import Survey, class_image_folder
from lorasmith.runs.sampling import ValidationSampler, draw_class_images
from lorasmith.sizes import Size
from lorasmith.training.assemble import abstractions_of, assemble, vocabulary_of
from lorasmith.training.drift import MOST_PICTURES, DriftGauge
from lorasmith.training.loop import Training
from lorasmith.training.plan import RunPlan
from lorasmith.training.precision import resolve_device, resolve_precision
from lorasmith.training.validation import RunValidation

_LONG_PROMPTS_NAMED = 5


@dataclass(frozen=True)
class PreparedRun:
    """A run before its first step, and the pipeline that draws with it as it stands."""

    training: Training
    validation: RunValidation
    pipeline: StableDiffusionXLPipeline
    size: Size


def prepare(
    config: TrainConfig, surveyed: Survey, folder: RunFolder, emit: Emit, *, components: SdxlComponents | None = None
) -> PreparedRun:
    """Everything up to the first step, from the base's weights to encoded pictures.

    `components` are an open base to be trained on, in the run's precision; it is changed for good.
    """
    device = resolve_device(config.runtime.device)
    precision = resolve_precision(config.runtime.precision, device)
    components = components or open_components(config.model, dtype=precision.dtype)
    prediction = None if config.model.prediction == "auto" else config.model.prediction
    family = Sdxl(components, device=device, prediction=prediction, reading=config.text)
    if config.runtime.gradient_checkpointing:
        components.unet.enable_gradient_checkpointing()
    pipeline = pipeline_from_components(components, device=device)
    size = Size(surveyed.resolution, surveyed.resolution)
    class_examples = _class_images(config, pipeline, size, emit)
    instance = with_masks_from_words(config, surveyed.instance, device, emit)
    sets = pictures.deal(config, instance, class_examples, surveyed.resolution)
    training = assemble(config, family, sets, steps=surveyed.plan.steps, precision=precision)
    targets = targets_of(surveyed.resolution, buckets=config.data.buckets)
    views = AROUND_MASKS if config.data.crop == "mask" else AS_IT_IS
    fixed = fixed_draws(sets.held_out, targets, views)
    _tell_of_long_prompts(surveyed.plan, emit)
    looked_at = fixed_draws((*sets.held_out, *sets.training)[:MOST_PICTURES], targets, views)
    _encode_pictures(config, training, (*fixed, *looked_at), emit)
    sampler = ValidationSampler(
        pipeline, vocabulary_of(config), config.validation, folder.samples,
        seed=config.runtime.seed, size=size, base=surveyed.plan.base, text=config.text,
    )  # fmt: skip
    validation = RunValidation(
        training,
        held_out=[training.batches.batch_of([draw]) for draw in fixed],
        sampler=sampler if config.validation.prompts else None,
        emit=emit,
        gauge=DriftGauge(training, [training.batches.batch_of([draw]) for draw in looked_at], abstractions_of(config)),
        candidates=frozenset(surveyed.plan.candidate_steps),
        drawn_at=frozenset(surveyed.plan.validation_steps),
    )
    return PreparedRun(training, validation, pipeline, size)


def _class_images(
    config: TrainConfig, pipeline: StableDiffusionXLPipeline, size: Size, emit: Emit
) -> tuple[Example, ...]:
    """The class images, the missing ones drawn first by the base as it was published."""
    if config.prior is None or not config.prior.class_images_used:
        return ()
    folder = class_image_folder(config)
    draw_class_images(pipeline, config, folder, size=size, emit=emit)
    return pictures.class_images(config, folder)


def _tell_of_long_prompts(plan: RunPlan, emit: Emit) -> None:
    """Say which prompts are longer than is read at once, and what becomes of them; all of them are in the plan."""
    if not plan.long_prompts:
        return
    emit(Notice(f"{plan.long_prompts_told}."))
    if plan.long_prompts_are == "chunks":
        return
    for one in plan.long_prompts[:_LONG_PROMPTS_NAMED]:
        emit(Notice(f'not read, the last {counted(one.unread, "token")}: "{one.unread_text}" of "{one.prompt}"'))
    more = len(plan.long_prompts) - _LONG_PROMPTS_NAMED
    if more > 0:
        emit(Notice(f"and {more} more, in plan.json"))


def _encode_pictures(config: TrainConfig, training: Training, besides: tuple[Draw, ...], emit: Emit) -> None:
    """Encode every view the run will see, where there are few, and let the VAE go if nothing will be drawn."""
    if not (config.data.cache_latents and has_few_views(config.data.crop)):
        return
    micro_steps = range(training.phases.total_steps * training.gradient_accumulation)
    training.batches.fill_cache(micro_steps, emit, besides=besides)
    if not config.validation.prompts:
        training.family.release_vae()
