"""Owns gathering a run's pictures and dealing them to micro-steps; draws no class images and loads no weights."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lorasmith.config.train import TrainConfig
from lorasmith.data.buckets import targets_of
from lorasmith.data.examples import Example, Role
from lorasmith.data.order import BatchOrder, OrderSettings, held_out
from lorasmith.data.read import read_examples, refuse_or_leave_out
from lorasmith.data.token_check import refuse_captions_without_token
from lorasmith.data.views import ViewSettings
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Emit, Notice
from lorasmith.training.assemble import PictureSets


def instance_images(config: TrainConfig, emit: Emit) -> tuple[Example, ...]:
    """The run's instance images; refuses what the config does not tell it to go on without."""
    folder = config.data.instance_images
    if folder is None:
        raise ConfigError(
            "no instance images were named",
            where="data.instance_images",
            remedy="Give their folder: `lorasmith train --data.instance-images FOLDER`.",
        )
    with _said_in("data.instance_images"):
        reading = read_examples(
            folder.expanduser(),
            prompt=config.data.instance_prompt,
            caption_column=config.data.caption_column,
            role=Role.INSTANCE,
            pixel_limit=config.data.pixel_limit,
            background=config.data.background,
        )
    for note in reading.notes:
        emit(Notice(note))
    examples = refuse_or_leave_out(reading, config.data.broken_pictures, str(folder))
    for broken in reading.broken:
        emit(Notice(f"left out {broken.path.name}: {broken.reason}"))
    _check_captions(config, examples)
    return examples


def class_images(config: TrainConfig, folder: Path) -> tuple[Example, ...]:
    """The run's class images, as many as asked for, each with the class prompt as its caption."""
    if config.prior is None:
        return ()
    reading = read_examples(
        folder,
        prompt=config.prior.class_prompt,
        caption_column=None,
        role=Role.CLASS,
        pixel_limit=config.data.pixel_limit,
        background=config.data.background,
    )
    return refuse_or_leave_out(reading, config.data.broken_pictures, str(folder))[: config.prior.num_class_images]


def deal(
    config: TrainConfig, instance: Sequence[Example], class_examples: Sequence[Example], resolution: int
) -> PictureSets:
    """Keep the held-out pictures apart and deal the others to micro-steps."""
    training, kept_out = held_out(instance, config.validation.held_out, config.runtime.seed)
    order = BatchOrder(training, class_examples, settings=order_settings(config, resolution))
    return PictureSets(training, kept_out, tuple(class_examples), order)


def order_settings(config: TrainConfig, resolution: int) -> OrderSettings:
    """How the config wants pictures dealt and cut at a resolution."""
    return OrderSettings(
        batch_size=config.schedule.batch_size,
        repeats=config.data.repeats,
        targets=targets_of(resolution, buckets=config.data.buckets),
        views=ViewSettings(config.data.crop, config.data.flip, config.runtime.seed),
    )


def check_resolution(resolution: int, *, multiple: int) -> None:
    """Refuse a resolution whose latents the denoiser cannot halve and double back."""
    if resolution % multiple:
        near = max(multiple, round(resolution / multiple) * multiple)
        raise ConfigError(
            f"the resolution {resolution} is not a multiple of {multiple}", where="data.resolution",
            remedy=f"Give {near}, say.",
        )  # fmt: skip


@contextmanager
def _said_in(option: str) -> Generator[None]:
    """Let refusals that do not say where something was said name the option."""
    try:
        yield
    except DataError as error:
        raise DataError.of([replace(problem, where=problem.where or option) for problem in error.problems]) from error


def _check_captions(config: TrainConfig, examples: Sequence[Example]) -> None:
    if config.tokens.enabled and config.data.captions_without_token == "refuse":
        refuse_captions_without_token(examples, config.tokens.abstractions)
