"""Owns what a run will do before it does it: config and facts resolved into numbers; loads no weights."""

import math
from dataclasses import asdict, dataclass
from typing import Any

from lorasmith.config.optimizer import (
    AdafactorConfig,
    AdamWConfig,
    OptimizerConfig,
    ProdigyConfig,
    RatesConfig,
    ScheduleFreeProdigyConfig,
)
from lorasmith.config.text import LongPrompts
from lorasmith.config.train import TrainConfig
from lorasmith.models.long_prompts import LongPrompt
from lorasmith.sizes import Size
from lorasmith.training.phases import NEW_TOKENS, TEXT_ENCODERS, PartName, PhaseSchedule
from lorasmith.training.selection import candidate_steps, usual_share, usual_steps

_EMBEDDED_CLAMP = (100, 600)
_REAL_CLAMP = (500, 1500)

# The article's rates beside AdamW's 1e-4: 3e-4 for new tokens, 5e-5 for text-encoder adapters. Adafactor's updates are
# as long as AdamW's (a root mean square of one), so that the shares hold for it as well.
_SHARE: dict[PartName, float] = {
    "denoiser": 1.0,
    "new_tokens_1": 3.0,
    "new_tokens_2": 3.0,
    "text_encoder_1": 0.5,
    "text_encoder_2": 0.5,
}


@dataclass(frozen=True)
class PlannedAdapter:
    """The adapter a part gets: its ranks (several where blocks have their own), layers and numbers that train."""

    part: PartName
    kind: str
    ranks: tuple[int, ...]
    layers: int
    parameters: int


@dataclass(frozen=True)
class BaseFacts:
    """What is known of a base without its weights. Sizes in bytes at the run's precision; work in FLOP."""

    name: str
    is_embedded: bool
    resolution: int
    prediction_type: str
    weight_bytes: int
    adapters: tuple[PlannedAdapter, ...]
    new_token_parameters: int
    step_flops: float
    activation_bytes: int

    @property
    def adapter_parameters(self) -> int:
        """The numbers that train in all adapters."""
        return sum(adapter.parameters for adapter in self.adapters)


@dataclass(frozen=True)
class PromptFacts:
    """The run's different prompts: how many, how many tokens are read at once, and the longer ones."""

    count: int
    room: int
    long: tuple[LongPrompt, ...]


@dataclass(frozen=True)
class CaptionFacts:
    """How many captions the pictures trained on have, and as how many different ones they may be seen."""

    written: int
    possible: int


@dataclass(frozen=True)
class MaskFacts:
    """How many pictures trained on have a mask, and how many are to get one from words when the run starts."""

    masked: int
    from_words: int


@dataclass(frozen=True)
class Facts:
    """What the plan depends on besides the config: pictures, base and machine."""

    instance_images: int
    held_out_images: int
    class_images: int
    class_images_missing: int
    micro_steps_per_epoch: int
    buckets: tuple[tuple[Size, int], ...]
    base: BaseFacts
    device: str
    precision: str
    device_flops: float
    prompts: PromptFacts
    captions: CaptionFacts
    masks: MaskFacts


@dataclass(frozen=True)
class PlannedPhase:
    """Steps `first` up to, not including, `end`, and what trains in them at which rate."""

    first: int
    end: int
    name: str
    rates: dict[str, float]


@dataclass(frozen=True)
class RunPlan:
    """Everything a run will do, as numbers. Printed by `--dry-run` and written to the run folder."""

    name: str
    base: str
    device: str
    precision: str
    resolution: int
    buckets: tuple[tuple[Size, int], ...]
    instance_images: int
    held_out_images: int
    class_images: int
    class_images_missing: int
    repeats: int
    batch_size: int
    gradient_accumulation: int
    steps_per_epoch: int
    steps: int
    epochs: float
    pivot_step: int | None
    text_encoder_stop: int | None
    phases: tuple[PlannedPhase, ...]
    adapters: tuple[PlannedAdapter, ...]
    optimizer: str
    caches: tuple[str, ...]
    checkpoint_steps: tuple[int, ...]
    candidate_steps: tuple[int, ...]
    """The checkpoints the run chooses among at its end; none unless `schedule.steps` is `auto`."""
    validation_steps: tuple[int, ...]
    memory_bytes: int
    seconds: float
    clip_skip: int
    long_prompts: tuple[LongPrompt, ...]
    long_prompts_are: LongPrompts
    long_prompts_told: str
    """How many they are and what becomes of them, in words; empty when there are none."""
    caption_variants: int
    """As how many different captions the pictures may be seen in the run, at most."""
    captions_told: str
    """What is drawn of captions, in words; empty when nothing is."""
    masks_told: str
    """What counts of the pictures, in words; empty when all of all of them does."""

    def as_json(self) -> dict[str, Any]:
        """The plan as plain data."""
        return asdict(self)


def make_plan(config: TrainConfig, facts: Facts) -> RunPlan:
    """Resolve a config with the facts it depends on."""
    steps = planned_steps(config, facts)
    candidates = planned_candidates(config, facts)
    schedule = phase_schedule(config, steps)
    micro_steps = facts.micro_steps_per_epoch
    steps_per_epoch = math.ceil(micro_steps / config.schedule.gradient_accumulation)
    return RunPlan(
        name=config.output.name or config.output.folder.name,
        base=facts.base.name,
        device=facts.device,
        precision=facts.precision,
        resolution=facts.base.resolution,
        buckets=facts.buckets,
        instance_images=facts.instance_images,
        held_out_images=facts.held_out_images,
        class_images=facts.class_images,
        class_images_missing=facts.class_images_missing,
        repeats=config.data.repeats,
        batch_size=config.schedule.batch_size,
        gradient_accumulation=config.schedule.gradient_accumulation,
        steps_per_epoch=steps_per_epoch,
        steps=steps,
        epochs=steps * config.schedule.gradient_accumulation / micro_steps,
        pivot_step=schedule.pivot_step if config.tokens.enabled else None,
        text_encoder_stop=schedule.text_encoder_stop if config.adapter.text_encoders else None,
        phases=_phases(config, schedule),
        adapters=facts.base.adapters,
        optimizer=_optimizer_name(config.optimizer),
        caches=_caches(config),
        checkpoint_steps=tuple(sorted({*due_steps(config.checkpoint.every, steps), *candidates, steps})),
        candidate_steps=candidates,
        validation_steps=validation_steps(config, steps, steps_per_epoch=steps_per_epoch),
        memory_bytes=_memory(config, facts),
        seconds=_seconds(config, facts, steps),
        clip_skip=config.text.clip_skip,
        long_prompts=facts.prompts.long,
        long_prompts_are=config.text.long_prompts,
        long_prompts_told=_told_of_long_prompts(config, facts.prompts),
        caption_variants=_caption_variants(config, facts, steps),
        captions_told=_told_of_captions(config, facts, steps),
        masks_told=_told_of_masks(config, facts),
    )


def planned_steps(config: TrainConfig, facts: Facts) -> int:
    """Optimizer updates: as said, else from epochs, else from the number of pictures within the clamp.

    With `auto`, up to the last candidate.
    """
    schedule = config.schedule
    if schedule.chooses_its_steps:
        return planned_candidates(config, facts)[-1]
    if schedule.fixed_steps is not None:
        return schedule.fixed_steps
    if schedule.epochs is not None:
        return schedule.epochs * math.ceil(facts.micro_steps_per_epoch / schedule.gradient_accumulation)
    fewest, most = _EMBEDDED_CLAMP if facts.base.is_embedded else _REAL_CLAMP
    fewest, most = schedule.min_steps or fewest, schedule.max_steps or most
    return max(fewest, min(most, schedule.steps_per_picture * facts.instance_images))


def planned_candidates(config: TrainConfig, facts: Facts) -> tuple[int, ...]:
    """The steps of the checkpoints that the run chooses among; none unless it does."""
    if not config.schedule.chooses_its_steps:
        return ()
    return candidate_steps(usual_steps(facts.instance_images), most=config.schedule.max_steps)


def phase_schedule(config: TrainConfig, steps: int) -> PhaseSchedule:
    """Which parts the config trains and when each stops.

    A run that goes on past what is expected to be best counts shares from what is expected.
    """
    expected = usual_share(steps) if config.schedule.chooses_its_steps else steps
    said = config.schedule.pivot_step
    pivot = _share_of_run(config.schedule.pivot, steps, expected) if said is None else said
    text_stop = _share_of_run(config.schedule.text_encoder_fraction, steps, expected)
    return PhaseSchedule(
        parts=trained_parts(config),
        total_steps=steps,
        pivot_step=min(pivot, steps) if config.tokens.enabled else 0,
        text_encoder_stop=text_stop if config.adapter.text_encoders else 0,
    )


def _share_of_run(fraction: float, steps: int, expected: int) -> int:
    """A share of the expected steps; at least one unless it is zero, which means never, and one is to the end."""
    if fraction == 1:
        return steps
    return max(1, round(fraction * expected)) if fraction > 0 else 0


def trained_parts(config: TrainConfig) -> frozenset[PartName]:
    """The parts a config trains at some step; a rate of 0 leaves a part out."""
    wanted: set[PartName] = {"denoiser"}
    if config.tokens.enabled:
        wanted |= NEW_TOKENS
    if config.adapter.text_encoders:
        wanted |= TEXT_ENCODERS
    return frozenset(part for part in wanted if rate_of(part, config) > 0)


def rate_of(part: PartName, config: TrainConfig) -> float:
    """A part's rate before the schedule: as said in `rates`, else the optimizer's usual one for it."""
    said = _said_rate(part, config.rates)
    if said is not None:
        return said
    match config.optimizer:
        case ProdigyConfig(learning_rate=rate) | ScheduleFreeProdigyConfig(learning_rate=rate):
            return rate
        case AdamWConfig(learning_rate=rate) | AdafactorConfig(learning_rate=rate):
            return rate * _SHARE[part]


def _said_rate(part: PartName, rates: RatesConfig) -> float | None:
    match part:
        case "denoiser":
            return None
        case "new_tokens_1":
            return rates.new_tokens_1
        case "new_tokens_2":
            return rates.new_tokens_2
        case "text_encoder_1":
            return rates.text_encoder_1
        case "text_encoder_2":
            return rates.text_encoder_2


def state_bytes(optimizer: OptimizerConfig) -> float:
    """Bytes that an optimizer remembers for each number it trains, beside the number and its gradient (8 in fp32).

    Schedule-free Prodigy estimates from every eleventh number; Adafactor's rows and columns are next to nothing.
    """
    match optimizer:
        case AdamWConfig(eight_bit=eight_bit):
            return 2 * (1 + 4 / 256) if eight_bit else 8
        case ProdigyConfig(beta1=beta1):
            return 16 if beta1 else 12
        case AdafactorConfig(beta1=beta1):
            return 4 if beta1 else 0
        case ScheduleFreeProdigyConfig():
            return 8 + 8 / 11


def due_steps(every: int, steps: int) -> tuple[int, ...]:
    """The steps after which something that happens every so many steps is due, before the last."""
    return tuple(range(every, steps, every)) if every else ()


def validation_steps(config: TrainConfig, steps: int, *, steps_per_epoch: int) -> tuple[int, ...]:
    """The steps after which validation is due; the last one always is."""
    if not config.validation.prompts and not config.validation.held_out:
        return ()
    epochs = config.validation.every_epochs
    every = config.validation.every or math.ceil(steps / 4) if epochs is None else epochs * steps_per_epoch
    return (*due_steps(every, steps), steps)


def _phases(config: TrainConfig, schedule: PhaseSchedule) -> tuple[PlannedPhase, ...]:
    starts = schedule.boundaries()
    ends = (*starts[1:], schedule.total_steps)
    return tuple(
        PlannedPhase(first, end, phase.name, {part: rate_of(part, config) for part in sorted(phase.trains)})
        for first, end in zip(starts, ends, strict=True)
        for phase in [schedule.phase_at(first)]
    )


def _caches(config: TrainConfig) -> tuple[str, ...]:
    if not config.data.cache_latents:
        latents = "latents: encoded at each step (data.cache_latents is off)"
    elif config.data.crop == "random":
        latents = "latents: encoded at each step (random crops are drawn anew)"
    else:
        latents = f"latents: on disk, by content{', both mirrored and not' if config.data.flip else ''}"
    if config.adapter.text_encoders:
        prompts = "prompts: encoded at each step while the text encoders' adapters train"
    elif _draws_captions(config):
        prompts = "prompts: drawn anew, encoded a stretch ahead once nothing changes them"
    elif config.tokens.enabled:
        prompts = "prompts: with new tokens encoded at each step before the pivot, all kept after it"
    else:
        prompts = "prompts: encoded once"
    return latents, prompts


def _told_of_long_prompts(config: TrainConfig, prompts: PromptFacts) -> str:
    if not prompts.long:
        return ""
    told = f"{len(prompts.long)} of {prompts.count} prompts are longer than {prompts.room} tokens"
    match config.text.long_prompts:
        case "cut":
            unread = sum(one.unread for one in prompts.long)
            return f"{told} and are cut: {unread} tokens are not read (text.long_prompts = chunks reads them)"
        case "chunks":
            return f"{told} and are read in chunks, up to {max(one.chunks for one in prompts.long)} of them"


def _draws_captions(config: TrainConfig) -> bool:
    data = config.data
    return data.caption_dropout > 0 or data.tag_dropout > 0 or data.shuffle_tags or data.wildcards


def _caption_variants(config: TrainConfig, facts: Facts, steps: int) -> int:
    if facts.captions.possible <= facts.captions.written:
        return facts.captions.possible
    seen = steps * config.schedule.gradient_accumulation * config.schedule.batch_size
    return min(facts.captions.possible, seen)


def _told_of_captions(config: TrainConfig, facts: Facts, steps: int) -> str:
    if facts.captions.possible == facts.instance_images:
        return ""
    written, dropped = facts.captions.written, config.data.caption_dropout
    captions = f"{written} captions of {facts.instance_images} pictures"
    seen = f"seen as up to {_caption_variants(config, facts, steps):,} different ones"
    return f"{captions}, {seen}{f', {dropped:.0%} of the times as an empty one' if dropped else ''}"


def _told_of_masks(config: TrainConfig, facts: Facts) -> str:
    masks = facts.masks
    if not masks.masked and not masks.from_words:
        return ""
    outside = f"what is outside counts {config.objective.unmasked_weight:g}"
    crops = "; pictures are cut around them" if config.data.crop == "mask" else ""
    told = [f"{masks.masked} of {facts.instance_images} pictures have one"] if masks.masked else []
    if masks.from_words:
        told.append(f"{masks.from_words} are drawn from the words {config.data.mask_words!r}")
    return f"{', '.join(told)}; {outside}{crops}"


def _optimizer_name(optimizer: OptimizerConfig) -> str:
    eight_bit = isinstance(optimizer, AdamWConfig) and optimizer.eight_bit
    return f"{optimizer.name}, 8-bit" if eight_bit else optimizer.name


def _memory(config: TrainConfig, facts: Facts) -> int:
    """Weights, fp32 adapters with gradient and optimizer state, and activations of one pass; a guide, in bytes."""
    trained = (facts.base.adapter_parameters + facts.base.new_token_parameters) * (8 + state_bytes(config.optimizer))
    examples = config.schedule.batch_size * (2 if config.prior else 1)
    return int(facts.base.weight_bytes + trained + facts.base.activation_bytes * examples)


def _seconds(config: TrainConfig, facts: Facts, steps: int) -> float:
    examples = config.schedule.batch_size * config.schedule.gradient_accumulation * (2 if config.prior else 1)
    again = 4 / 3 if config.runtime.gradient_checkpointing else 1.0
    return steps * examples * facts.base.step_flops * again / facts.device_flops
