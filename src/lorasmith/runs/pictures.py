"""Owns gathering a run's pictures and dealing them to micro-steps; draws no class images and loads no weights."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from lorasmith.checking.report import read_left_out
from lorasmith.config.data import DataConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.archives import is_archive, unpacked
from lorasmith.data.buckets import targets_of
from lorasmith.data.caption_variants import CaptionOptions, read_variants
from lorasmith.data.dataset import dataset_pictures, pinned_revision, plain_folder
from lorasmith.data.decode import colour_of
from lorasmith.data.examples import Example, Role
from lorasmith.data.masks import Masked, MaskOptions, with_masks
from lorasmith.data.order import BatchOrder, OrderSettings, held_out
from lorasmith.data.read import Reading, read_captioned, read_examples, refuse_or_leave_out, spelled
from lorasmith.data.token_check import refuse_captions_without_token
from lorasmith.data.views import ViewSettings
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Emit, Notice
from lorasmith.tokens.vocabulary import TokenVocabulary
from lorasmith.training.assemble import PictureSets
from lorasmith.training.selection import held_out_pictures


def instance_images(config: TrainConfig, emit: Emit) -> tuple[Example, ...]:
    """The run's instance images; refuses what the config does not tell it to go on without."""
    option = "data.instance_images" if config.data.dataset is None else "data.dataset"
    with _said_in(option):
        reading = _read(config, emit)
    for note in reading.notes:
        emit(Notice(note))
    examples = refuse_or_leave_out(reading, config.data.broken_pictures, _named(config))
    for broken in reading.broken:
        emit(Notice(f"left out {broken.path.name}: {broken.reason}"))
    examples = _with_variants(config.data, examples)
    _check_captions(config, examples)
    return _with_masks(config.data, examples, emit)


def with_pinned_dataset(config: TrainConfig) -> TrainConfig:
    """The same config with the commit that a data set of the hub is at now, so that it stays the same pictures."""
    commit = pinned_revision(config.data)
    if commit is None:
        return config
    return config.model_copy(update={"data": config.data.model_copy(update={"dataset_revision": commit})})


def class_images(config: TrainConfig, folder: Path) -> tuple[Example, ...]:
    """The run's class images, as many as asked for, each with the class prompt as its caption."""
    if config.prior is None or not config.prior.class_images_used:
        return ()
    reading = read_examples(
        folder,
        prompt=config.prior.class_prompt,
        caption_column=None,
        role=Role.CLASS,
        pixel_limit=config.data.pixel_limit,
        background=config.data.background,
    )
    return refuse_or_leave_out(reading, config.data.broken_pictures, str(folder))[: config.prior.class_images_used]


def with_left_out_named(config: TrainConfig) -> TrainConfig:
    """The same config with names in the place of reports, so that a later check changes nothing of this run."""
    if not config.data.leave_out:
        return config
    names = tuple(sorted(left_out(config.data)))
    return config.model_copy(update={"data": config.data.model_copy(update={"leave_out": names})})


def left_out(data: DataConfig) -> frozenset[str]:
    """The ids of the pictures that the config leaves out, by name or by the report of a check."""
    names: set[str] = set()
    for said in data.leave_out:
        names |= set(read_left_out(Path(said).expanduser())) if said.lower().endswith(".json") else {said}
    return frozenset(spelled(name) for name in names)


def deal(
    config: TrainConfig, instance: Sequence[Example], class_examples: Sequence[Example], resolution: int
) -> PictureSets:
    """Keep the held-out pictures apart and deal the others to micro-steps."""
    training, kept_out = held_out(instance, held_out_count(config, len(instance)), config.runtime.seed)
    settings = replace(order_settings(config, resolution), class_captions=class_captions(config, training))
    order = BatchOrder(training, class_examples, settings=settings)
    return PictureSets(training, kept_out, tuple(class_examples), order)


def held_out_count(config: TrainConfig, pictures: int) -> int:
    """How many pictures are kept out: as said, else as many as choosing among checkpoints takes, else none."""
    if config.validation.held_out or not config.schedule.chooses_its_steps:
        return config.validation.held_out
    return held_out_pictures(pictures)


def class_captions(config: TrainConfig, examples: Sequence[Example]) -> dict[str, str]:
    """What an instance image's twin says, by the image's caption; none unless the base teaches with its adapter off."""
    prior = config.prior
    if prior is None or prior.source != "adapter_off":
        return {}
    captions = dict.fromkeys(example.caption for example in examples)
    if prior.class_word is None:
        return dict.fromkeys(captions, prior.class_prompt)
    abstractions = TokenVocabulary.of(config.tokens.abstractions, per_abstraction=1)
    return {caption: abstractions.in_other_words(caption, prior.class_word) for caption in captions}


def order_settings(config: TrainConfig, resolution: int) -> OrderSettings:
    """How the config wants pictures dealt and cut at a resolution."""
    return OrderSettings(
        batch_size=config.schedule.batch_size,
        repeats=config.data.repeats,
        targets=targets_of(resolution, buckets=config.data.buckets),
        views=ViewSettings(config.data.crop, config.data.flip, config.runtime.seed),
        captions=caption_options(config),
    )


def caption_options(config: TrainConfig) -> CaptionOptions:
    """What the config wants drawn of captions."""
    data = config.data
    return CaptionOptions(
        seed=config.runtime.seed,
        dropout=data.caption_dropout,
        shuffle_tags=data.shuffle_tags,
        keep_tags=data.keep_tags,
        tag_dropout=data.tag_dropout,
        separator=data.tag_separator,
        kept_words=config.tokens.abstractions if config.tokens.enabled else (),
    )


def check_resolution(resolution: int, *, multiple: int) -> None:
    """Refuse a resolution whose latents the denoiser cannot halve and double back."""
    if resolution % multiple:
        near = max(multiple, round(resolution / multiple) * multiple)
        raise ConfigError(
            f"the resolution {resolution} is not a multiple of {multiple}", where="data.resolution",
            remedy=f"Give {near}, say.",
        )  # fmt: skip


def _read(config: TrainConfig, emit: Emit) -> Reading:
    """The pictures of the folder, or of the data set, that the config names."""
    data = config.data
    if data.dataset is None:
        _tell_what_is_for_data_sets(data, emit)
        if data.instance_images is None:
            raise ConfigError(
                "no instance images were named",
                where="data.instance_images",
                remedy="Give their folder: `lorasmith train --data.instance-images FOLDER`.",
            )
        images = data.instance_images.expanduser()
        return _read_folder(data, unpacked(images, data.cache_folder, emit) if is_archive(images) else images)
    folder = plain_folder(data)
    if folder is not None:
        return _read_folder(data, folder)
    kept = dataset_pictures(with_pinned_dataset(config).data, emit)
    captions = kept.captions(data.caption_column)
    colour_of(data.background)
    return read_captioned(
        kept.folder, captions, prompt=data.instance_prompt, role=Role.INSTANCE, pixel_limit=data.pixel_limit,
        leave_out=left_out(data),
    )  # fmt: skip


def _read_folder(data: DataConfig, folder: Path) -> Reading:
    return read_examples(
        folder,
        prompt=data.instance_prompt,
        caption_column=data.caption_column,
        role=Role.INSTANCE,
        pixel_limit=data.pixel_limit,
        background=data.background,
        leave_out=left_out(data),
    )


def _named(config: TrainConfig) -> str:
    return config.data.dataset or str(config.data.instance_images)


def _tell_what_is_for_data_sets(data: DataConfig, emit: Emit) -> None:
    without_effect = [name for name in ("dataset_config", "dataset_revision", "image_column") if getattr(data, name)]
    for name in without_effect:
        emit(Notice(f"data.{name} has no effect: the pictures come from a folder, not from data.dataset"))


@contextmanager
def _said_in(option: str) -> Generator[None]:
    """Let refusals that do not say where something was said name the option."""
    try:
        yield
    except DataError as error:
        raise DataError.of([replace(problem, where=problem.where or option) for problem in error.problems]) from error


def _with_variants(data: DataConfig, examples: Sequence[Example]) -> tuple[Example, ...]:
    """All captions of each picture, and one of them that can be shown."""
    folder = data.wildcard_folder.expanduser() if data.wildcard_folder else None
    lines = data.caption_lines == "several"
    return tuple(read_variants(examples, lines=lines, wildcards=data.wildcards, folder=folder))


def _with_masks(data: DataConfig, examples: Sequence[Example], emit: Emit) -> tuple[Example, ...]:
    """The examples with the masks there are; those from words are drawn when the run starts."""
    masked = Masked(tuple(examples), ())
    if data.use_masks:
        folder = data.masks.expanduser() if data.masks else None
        masked = with_masks(examples, MaskOptions(folder, data.alpha_mask, data.pixel_limit))
    for note in masked.notes:
        emit(Notice(note))
    if data.crop == "mask" and data.mask_words is None and not any(one.mask for one in masked.examples):
        raise DataError(
            "pictures are to be cut around their masks, and none has a mask",
            where="data.crop",
            remedy="Add masks (data.masks, data.alpha_mask, data.mask_words), or cut them at the center.",
        )
    return masked.examples


def _check_captions(config: TrainConfig, examples: Sequence[Example]) -> None:
    if config.tokens.enabled and config.data.captions_without_token == "refuse":
        refuse_captions_without_token(examples, config.tokens.abstractions)
