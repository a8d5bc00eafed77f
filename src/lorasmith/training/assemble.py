"""Owns putting a run's parts together from its config; the only place that knows all of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from lorasmith.adapters import attach
from lorasmith.adapters.shape import AdapterShape, denoiser_targets, text_encoder_targets
from lorasmith.config.optimizer import AdamWConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.batches import BatchSource
from lorasmith.data.cache import LatentCache, LatentSource, Rendering, default_cache_folder
from lorasmith.data.caption_variants import possible_captions
from lorasmith.data.examples import Example
from lorasmith.data.masks import MaskSource
from lorasmith.data.order import BatchOrder
from lorasmith.data.pictures import Pictures
from lorasmith.data.views import has_few_views
from lorasmith.models.family import DiffusionFamily
from lorasmith.objectives.choice import objective_for
from lorasmith.optim.lr_schedule import RateSchedule
from lorasmith.optim.part import PartOptimizer
from lorasmith.tokens.attach import AttachedTokens, attach_new_tokens
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.facts import resume_facts
from lorasmith.training.loop import Training
from lorasmith.training.phases import NEW_TOKENS, PartName
from lorasmith.training.plan import phase_schedule, rate_of, trained_parts
from lorasmith.training.precision import Precision
from lorasmith.training.prompts import PromptBook
from lorasmith.training.step import PICTURES_TEACH
from lorasmith.training.teacher import BaseTeaches, Teacher


@dataclass(frozen=True)
class PictureSets:
    """What a run trains on, what it keeps out, and how the micro-steps are dealt."""

    training: tuple[Example, ...]
    held_out: tuple[Example, ...]
    class_images: tuple[Example, ...]
    order: BatchOrder

    @property
    def all(self) -> tuple[Example, ...]:
        """Every example of the run."""
        return (*self.training, *self.held_out, *self.class_images)


def assemble(
    config: TrainConfig, family: DiffusionFamily, pictures: PictureSets, *, steps: int, precision: Precision
) -> Training:
    """A run before its first step. The base is changed in place: adapters and new tokens are attached to it."""
    seed = config.runtime.seed
    facts = resume_facts(config, family, pictures.all)
    latents, masks = latent_source(config, family), mask_source(config)
    batches = BatchSource(pictures.order, latents, masks=masks, prior_weight=prior_weight(config))
    vocabulary = vocabulary_of(config)
    class_captions = tuple(dict.fromkeys(pictures.order.settings.class_captions.values()))
    teacher = _teacher(family, class_captions, precision)
    captions_vary = any(possible_captions(one, pictures.order.settings.captions) > 1 for one in pictures.training)
    fixed = (*pictures.held_out, *pictures.class_images) if captions_vary else pictures.all
    new_tokens = _new_tokens(config, family, vocabulary)
    parts = _parts(config, family, new_tokens)
    return Training(
        family=family,
        objective=objective_for(family.noise_schedule, config.objective),
        teacher=teacher,
        batches=batches,
        prompts=PromptBook(family, vocabulary, forgets=captions_vary),
        parts=parts,
        new_tokens=new_tokens,
        phases=phase_schedule(config, steps),
        rates=rate_schedule(config, steps),
        precision=precision,
        seed=seed,
        gradient_accumulation=config.schedule.gradient_accumulation,
        max_grad_norm=config.runtime.max_grad_norm,
        keep_norm=config.tokens.keep_norm,
        adapter_dropout=config.adapter.dropout,
        captions=tuple(dict.fromkeys([*(example.caption for example in fixed), *class_captions])),
        instance_captions=tuple(example.caption for example in pictures.training),
        facts=facts,
        captions_vary=captions_vary,
        scaler=precision.gradient_scaler(),
    )


def vocabulary_of(config: TrainConfig) -> TokenVocabulary:
    """The run's new tokens; none when they are switched off."""
    words = config.tokens.abstractions if config.tokens.enabled else ()
    look_alikes = [" ".join(name.split()) for name in config.tokens.look_alike] if words else ()
    return TokenVocabulary.of(words, per_abstraction=config.tokens.per_abstraction, look_alikes=look_alikes)


def abstractions_of(config: TrainConfig) -> TokenVocabulary:
    """The words that stand for what is learnt, whether new tokens are used or not; for finding them in captions."""
    return TokenVocabulary.of(config.tokens.abstractions, per_abstraction=1)


def rate_schedule(config: TrainConfig, steps: int) -> RateSchedule:
    """How the run's rates change."""
    schedule = config.schedule
    return RateSchedule(
        schedule.lr_schedule, steps, schedule.warmup_steps, cycles=schedule.lr_cycles, power=schedule.lr_power
    )


def prior_weight(config: TrainConfig) -> float:
    """What a class image's loss counts."""
    return config.prior.weight if config.prior is not None else 1.0


def latent_source(config: TrainConfig, family: DiffusionFamily) -> LatentSource:
    """How the run's pictures become latents: cached unless every draw cuts them anew."""
    rendering = Rendering(config.data.interpolation, config.data.background)
    keeps = config.data.cache_latents and has_few_views(config.data.crop)
    return LatentSource(
        pixels=Pictures(rendering, pixel_limit=config.data.pixel_limit).pixels,
        encode=family.encode_pictures,
        rendering=rendering,
        encoder_fingerprint=family.fingerprint("vae"),
        cache=LatentCache(cache_folder(config)) if keeps else None,
    )


def mask_source(config: TrainConfig) -> MaskSource:
    """What the run's masks come to."""
    return MaskSource(
        config.data.interpolation,
        pixel_limit=config.data.pixel_limit,
        unmasked_weight=config.objective.unmasked_weight,
    )


def cache_folder(config: TrainConfig) -> Path:
    """Where encoded pictures are kept."""
    return config.data.cache_folder or default_cache_folder()


def adapter_shape(config: TrainConfig, part: PartName) -> AdapterShape:
    """The adapter a part gets, of the same kind everywhere; blocks are the denoiser's alone."""
    adapter = config.adapter
    rank = adapter.rank if part == "denoiser" else adapter.text_encoder_rank or adapter.rank
    # One scale for the whole run: alpha ÷ rank stays what was asked for when a text encoder's rank differs.
    alpha = float(rank) if adapter.alpha is None else adapter.alpha * rank / adapter.rank
    if part != "denoiser":
        return AdapterShape(adapter.kind, rank, alpha, adapter.dropout, text_encoder_targets())
    targets = denoiser_targets(adapter.chosen_targets)
    return AdapterShape(adapter.kind, rank, alpha, adapter.dropout, targets, adapter.chosen_blocks, adapter.block_ranks)


def _teacher(family: DiffusionFamily, class_captions: Sequence[str], precision: Precision) -> Teacher:
    """The pictures alone, or with twins the base as well; asked before anything is attached to the base."""
    if not class_captions:
        return PICTURES_TEACH
    with torch.no_grad(), precision.autocast():
        return BaseTeaches(family, {caption: family.encode_prompts([caption]) for caption in class_captions})


def _new_tokens(config: TrainConfig, family: DiffusionFamily, vocabulary: TokenVocabulary) -> dict[str, AttachedTokens]:
    """New tokens under their part's names: `new_tokens_1` in the first text encoder, `new_tokens_2` in the second."""
    if not vocabulary.tokens:
        return {}
    attached = attach_new_tokens(family.text_encoders, vocabulary, init=config.tokens.init, seed=config.runtime.seed)
    return {tokens.encoder.replace("text_encoder", "new_tokens"): tokens for tokens in attached}


def _parts(
    config: TrainConfig, family: DiffusionFamily, new_tokens: dict[str, AttachedTokens]
) -> dict[str, PartOptimizer]:
    parts: dict[str, PartOptimizer] = {}
    for name in sorted(trained_parts(config)):
        if name == "new_tokens_1" or name == "new_tokens_2":
            parameters = {"rows": new_tokens[name].rows}
        else:
            parameters = _adapter(config, family, name)
        parts[name] = _optimizer(config, name, parameters)
    return parts


def _adapter(config: TrainConfig, family: DiffusionFamily, part: PartName) -> dict[str, nn.Parameter]:
    module = family.parts[part]
    attach.attach_adapter(module, adapter_shape(config, part), seed=config.runtime.seed, name=part)
    module.to(family.device)
    attach.set_dropout_active(module, active=False)
    return attach.adapter_parameters(module)


def _optimizer(config: TrainConfig, name: PartName, parameters: dict[str, nn.Parameter]) -> PartOptimizer:
    options = config.optimizer
    if isinstance(options, AdamWConfig) and name in NEW_TOKENS:
        # A few thousand numbers save nothing, and bitsandbytes advises against 8 bits for embeddings.
        options = options.model_copy(update={"eight_bit": False})
    is_text = name != "denoiser"
    text_decay = options.text_weight_decay
    decay = text_decay if is_text and text_decay is not None else options.weight_decay
    return PartOptimizer(name, parameters, options, rate=rate_of(name, config), weight_decay=decay)
