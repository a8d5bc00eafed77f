"""Owns the loop over the steps of a plan; knows neither where its parts come from nor who listens."""

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch.amp.grad_scaler import GradScaler

from lorasmith import rng
from lorasmith.adapters.attach import set_dropout_active
from lorasmith.data.batches import BatchSource
from lorasmith.data.examples import Role
from lorasmith.errors import StoppedError
from lorasmith.events import CheckpointWritten, Emit, PhaseChanged, StepDone
from lorasmith.models.family import DiffusionFamily
from lorasmith.objectives.objective import Objective
from lorasmith.optim.lr_schedule import RateSchedule
from lorasmith.optim.part import PartOptimizer
from lorasmith.tokens.attach import AttachedTokens
from lorasmith.training import sentinel, state
from lorasmith.training.checkpoint import CheckpointStore
from lorasmith.training.phases import NEW_TOKENS, Phase, PhaseSchedule
from lorasmith.training.precision import Precision
from lorasmith.training.prompts import PromptBook
from lorasmith.training.step import StepLoss, draw_chance, places_of, training_step
from lorasmith.training.teacher import Teacher
from lorasmith.training.timestep_buckets import ExampleLosses, losses_by_bucket

CAPTIONS_AHEAD = 256
"""How many captions that are drawn anew are encoded ahead, once the text encoders have left the device."""


class Validation(Protocol):
    """What is drawn and measured while a run goes on."""

    def validate(self, step: int, phase: Phase) -> None:
        """Draw and measure after `step` finished updates, emitting what came of it."""
        ...


@dataclass
class Training:
    """Everything the loop works on, put together by `assemble`."""

    family: DiffusionFamily
    objective: Objective
    teacher: Teacher
    batches: BatchSource
    prompts: PromptBook
    parts: Mapping[str, PartOptimizer]
    new_tokens: Mapping[str, AttachedTokens]
    phases: PhaseSchedule
    rates: RateSchedule
    precision: Precision
    seed: int
    gradient_accumulation: int
    max_grad_norm: float | None
    keep_norm: bool
    adapter_dropout: float
    captions: tuple[str, ...]
    """Every caption of the run that is not drawn anew, class prompt included."""
    instance_captions: tuple[str, ...]
    """One for each instance image that is trained on."""
    facts: dict[str, str]
    captions_vary: bool = False
    """Whether instance images are seen with other wordings than those in `captions`."""
    step: int = 0
    scaler: GradScaler | None = None
    _phase: Phase | None = field(default=None, init=False)
    _stretch: range | None = field(default=None, init=False)

    def enter_phase(self) -> Phase | None:
        """Apply the phase of the coming step; the new phase if it changed."""
        phase = self.phases.phase_at(self.step)
        changed = phase != self._phase
        if changed:
            self._phase = phase
            self._stretch = None
            for name, part in self.parts.items():
                part.set_trainable(trainable=name in phase.trains)
        if not phase.trains_text:
            self._read_ahead(phase)
        return phase if changed else None

    def _read_ahead(self, phase: Phase) -> None:
        """Encode the run's captions once; those that are drawn anew, a stretch of steps at a time."""
        stretch = self._stretch_of(self.step)
        if stretch == self._stretch:
            return
        self._stretch = stretch
        with self.precision.autocast():
            self.prompts.keep_only([*self.captions, *self._captions_in(stretch)], phase)

    def _stretch_of(self, step: int) -> range:
        """The steps around this one whose captions are kept together, counted from the run's first."""
        if not self.captions_vary:
            return range(self.phases.total_steps)
        in_a_step = self.batches.order.settings.batch_size * self.gradient_accumulation
        length = max(1, CAPTIONS_AHEAD // in_a_step)
        first = step // length * length
        return range(first, min(first + length, self.phases.total_steps))

    def _captions_in(self, stretch: range) -> list[str]:
        """What the captions of these steps say, those that are over left out."""
        if not self.captions_vary:
            return []
        passes = self.gradient_accumulation
        micro_steps = range(max(self.step, stretch.start) * passes, stretch.stop * passes)
        return list(dict.fromkeys(text for at in micro_steps for text in self.batches.order.captions_at(at)))

    @property
    def phase(self) -> Phase:
        """The phase of the coming step."""
        return self.phases.phase_at(self.step)

    @property
    def training_parts(self) -> list[PartOptimizer]:
        """The parts that the coming step trains."""
        return [part for name, part in self.parts.items() if name in self.phase.trains]

    @property
    def steps_per_epoch(self) -> int:
        """Updates in which every caption has been seen."""
        return -(-self.batches.order.micro_steps_per_epoch // self.gradient_accumulation)

    @contextmanager
    def as_used(self) -> Generator[None]:
        """Every part as it would be exported now, for pictures and measures; afterwards as it was."""
        with ExitStack() as stack:
            for part in self.parts.values():
                stack.enter_context(part.as_used())
            yield

    def finish(self) -> None:
        """Nothing trains any more: every part stands where it is to be used."""
        for part in self.parts.values():
            part.set_trainable(trainable=False)

    def capture(self) -> state.TrainingState:
        """What the coming step depends on."""
        return state.capture(self.step, self.parts, self.scaler)

    def restore(self, saved: state.TrainingState) -> None:
        """Go on from a captured state."""
        state.restore(saved, self.parts, self.scaler)
        self.step = saved.step


@dataclass(frozen=True)
class Rhythm:
    """After which steps something is due, and whether somebody asked to stop."""

    checkpoint_steps: frozenset[int]
    validation_steps: frozenset[int]
    stop_requested: Callable[[], bool]


def fit(
    training: Training, *, store: CheckpointStore, rhythm: Rhythm, validation: Validation | None, emit: Emit
) -> None:
    """Train to the plan's last step; afterwards the parts stand as they are to be used.

    Raises StoppedError after a checkpoint when asked to stop.

    DivergedError when a number is not finite, or when a part that was to train has learnt nothing.
    """
    watcher = sentinel.MovementSentinel(training.parts, patience=training.steps_per_epoch)
    while training.step < training.phases.total_steps:
        changed = training.enter_phase()
        if changed is not None:
            emit(PhaseChanged(training.step, changed.name, tuple(sorted(changed.trains))))
        emit(take_step(training, watcher))
        if validation is not None and training.step in rhythm.validation_steps:
            with training.as_used():
                validation.validate(training.step, training.phase)
        stopping = rhythm.stop_requested() and training.step < training.phases.total_steps
        if stopping or training.step in rhythm.checkpoint_steps:
            sentinel.check_weights_are_finite(training.parts, training.step)
            folder = store.write(training.capture(), training.facts)
            emit(CheckpointWritten(training.step, folder))
        if stopping:
            raise StoppedError(
                f"stopped after step {training.step} of {training.phases.total_steps}",
                where=str(store.folder.parent),
                remedy=f"Go on with `lorasmith train --resume {store.folder.parent}`.",
            )
    training.finish()
    sentinel.refuse_untrained(training.parts, training.phases, training.rates)


def take_step(training: Training, watcher: sentinel.MovementSentinel | None = None) -> StepDone:
    """One optimizer update of every part that trains in the coming step."""
    started = time.monotonic()
    parts, multiplier = training.training_parts, training.rates.multiplier_at(training.step)
    for part in parts:
        part.zero_gradient()
    passes = [_micro_step(training, index) for index in range(training.gradient_accumulation)]
    norms = {part.name: _prepare_gradient(training, part) for part in parts}
    for part in parts:
        part.step(multiplier, training.scaler)
        if watcher is not None:
            watcher.watch(part, multiplier)
    if training.scaler is not None:
        training.scaler.update()
    _keep_norms(training)
    training.step += 1
    return _step_done(training, passes, norms, multiplier=multiplier, seconds=time.monotonic() - started)


@dataclass(frozen=True)
class _MicroStep:
    """What one pass lost, and each of its instance examples at its timestep."""

    loss: StepLoss
    instance: ExampleLosses


def _micro_step(training: Training, index: int) -> _MicroStep:
    """One forward and backward pass; gradients add up to the mean over the step's passes."""
    micro_step = training.step * training.gradient_accumulation + index
    batch = training.batches.batch_at(micro_step)
    draws = draw_chance(
        batch, training.objective, seed=training.seed, micro_step=micro_step, device=training.family.device
    )
    # The backward pass too: under gradient checkpointing it runs the forward pass again, with the same dropout.
    with _counted_dropout(training, micro_step):
        with training.precision.autocast():
            prompts = training.prompts.embeddings(batch.captions, training.phase)
            loss = training_step(
                training.family, training.objective, batch, prompts=prompts, draws=draws, teacher=training.teacher
            )
        sentinel.check_loss_is_finite(loss.total.item(), training.step, batch, draws)
        total = loss.total / training.gradient_accumulation
        (total if training.scaler is None else training.scaler.scale(total)).backward()  # pyright: ignore[reportUnknownMemberType]
    instance = places_of(batch, Role.INSTANCE)
    return _MicroStep(loss, ExampleLosses(loss.examples[instance], draws.timesteps[instance]))


@contextmanager
def _counted_dropout(training: Training, micro_step: int) -> Generator[None]:
    """Dropout in the adapters that train, in this pass alone: pictures, measures and kept prompts must not have it.

    It is the one draw that torch makes by itself, so its generator is seeded for each pass.
    """
    if training.adapter_dropout == 0.0:
        yield
        return
    training_modules = [module for name, module in training.family.parts.items() if name in training.phase.trains]
    for module in training_modules:
        set_dropout_active(module, active=True)
    try:
        with rng.scoped_seed(training.seed, "dropout", micro_step):
            yield
    finally:
        for module in training_modules:
            set_dropout_active(module, active=False)


def _prepare_gradient(training: Training, part: PartOptimizer) -> float:
    """Unscale and clip one part's gradient; its length before clipping."""
    if training.scaler is not None:
        training.scaler.unscale_(part.optimizer)
    norm = part.clip_gradient(training.max_grad_norm)
    if training.scaler is None:
        sentinel.check_gradient_is_finite(norm, training.step, part.name)
    return norm


def _keep_norms(training: Training) -> None:
    if training.keep_norm:
        for name in NEW_TOKENS & training.phase.trains:
            training.parts[name].rescale(training.new_tokens[name].embedding.norm_pull())


def _step_done(
    training: Training, passes: list[_MicroStep], norms: dict[str, float], *, multiplier: float, seconds: float
) -> StepDone:
    losses = [micro_step.loss for micro_step in passes]
    priors = [loss.prior for loss in losses if loss.prior is not None]
    parts = [training.parts[name] for name in norms]
    return StepDone(
        step=training.step,
        loss=_mean([loss.total for loss in losses]),
        instance_loss=_mean([loss.instance for loss in losses]),
        prior_loss=_mean(priors) if priors else None,
        rates={part.name: part.effective_rate(multiplier) for part in parts},
        gradient_norms=norms,
        seconds=seconds,
        distances={part.name: part.distance for part in parts if part.distance is not None},
        by_timestep=losses_by_bucket(
            [micro_step.instance for micro_step in passes], timesteps=training.objective.timesteps
        ),
    )


def _mean(values: list[torch.Tensor]) -> float:
    return torch.stack([value.detach() for value in values]).mean().item()
