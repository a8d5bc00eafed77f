"""Owns what sd-scripts trains on: data set files, `10_token class` folders, and the batches of an epoch."""

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError
from lorasmith.importing.draft import Draft
from lorasmith.importing.epochs import KohyaBuckets, Shown, kohya_batches, kohya_class_images
from lorasmith.importing.keys import Keys, as_text
from lorasmith.importing.pictures import PictureFolder, settle
from lorasmith.sizes import Size


@dataclass(frozen=True)
class KohyaFolder:
    """A subset: a folder of instance or of class images, and what its captions undergo."""

    folder: PictureFolder
    is_class: bool
    keys: "Layered"


@dataclass(frozen=True)
class DataSet:
    """One data set: its folders, batch size and sizes."""

    folders: tuple[KohyaFolder, ...]
    batch_size: int
    buckets: KohyaBuckets
    keys: "Layered"


class Layered:
    """Values said in several places, the nearest first: subset, data set, `[general]`, the command line."""

    def __init__(self, *layers: Keys) -> None:
        self._layers = layers

    def at(self, name: str) -> Keys:
        """The nearest place that says it; the farthest where none does."""
        for layer in self._layers:
            if layer.has(_COMMAND_LINE.get(name, name) if layer is self._layers[-1] else name):
                return layer
        return self._layers[-1]

    def key(self, name: str) -> str:
        """What the nearest place calls it."""
        return _COMMAND_LINE.get(name, name) if self.at(name) is self._layers[-1] else name

    def has(self, name: str) -> bool:
        """Whether any place says it."""
        return self.at(name).has(self.key(name))

    def told(self, name: str, default: object = None) -> str:
        """It with its value, for people."""
        return self.at(name).told(self.key(name), default)

    def take(self, name: str) -> object:
        """It as it stands, taken wherever it is said, as the farther places are hidden by the nearest."""
        value = self.at(name).take(self.key(name))
        for layer in self._layers:
            layer.take(_COMMAND_LINE.get(name, name) if layer is self._layers[-1] else name)
        return value

    def integer(self, name: str, default: int) -> int:
        """A whole number."""
        self.take(name)
        return self.at(name).integer(self.key(name), default)

    def number(self, name: str, default: float) -> float:
        """A number."""
        self.take(name)
        return self.at(name).number(self.key(name), default)

    def text(self, name: str, default: str = "") -> str:
        """A text."""
        self.take(name)
        return self.at(name).text(self.key(name), default)

    def switch(self, name: str) -> bool:
        """On or off."""
        self.take(name)
        return self.at(name).switch(self.key(name))


_COMMAND_LINE: Final = {"batch_size": "train_batch_size", "num_repeats": "dataset_repeats"}


def data_sets(training: Keys, data: Keys | None) -> tuple[DataSet, ...]:
    """The data sets of a file, or the one that the command line's folders are."""
    if data is not None:
        for name in ("train_data_dir", "reg_data_dir"):
            training.take(name)  # not used where there is a file
        general = data.table("general")
        return tuple(_of_file(one, general, training) for one in data.tables("datasets"))
    keys = Layered(training)
    folders = [*_in_tree(training, "train_data_dir", keys), *_in_tree(training, "reg_data_dir", keys)]
    return (_data_set(tuple(folders), keys),)


def settle_data(draft: Draft, sets: Sequence[DataSet], training: Keys, gather_to: Path | None) -> int | None:
    """Carry the pictures and how they are cut; the batches of an epoch of sd-scripts where the pictures are there."""
    instance = [one for each in sets for one in each.folders if not one.is_class]
    classes = [one for each in sets for one in each.folders if one.is_class]
    settle(draft, [one.folder for one in instance], gather_to)
    for one in instance[:1]:
        _captions(draft, one)
    for one in (*instance, *classes):
        _augmentation(draft, one)
    if not sets:
        raise ConfigError("the data set file has no datasets", remedy="Add [[datasets]] with [[datasets.subsets]].")
    _cut(draft, sets)
    _batch(draft, sets, has_classes=bool(classes))
    if classes:
        _prior(draft, classes, instance, training)
    else:
        training.take("prior_loss_weight")
    return _batches(draft, sets)


def _of_file(one: Keys, general: Keys, training: Keys) -> DataSet:
    folders: list[KohyaFolder] = []
    seen: set[str] = set()
    for subset in one.tables("subsets"):
        keys = Layered(subset, one, general, training)
        place = keys.text("image_dir")
        if not place:
            raise ConfigError(f"{subset.path('image_dir')} is not said", remedy="Only data sets with folders are read.")
        if place not in seen:  # sd-scripts takes the first of the same folder
            folders.append(_folder(keys, Path(place), keys.text("class_tokens"), keys.switch("is_reg")))
        seen.add(place)
    return _data_set(tuple(folders), Layered(one, general, training))


def _data_set(folders: tuple[KohyaFolder, ...], keys: Layered) -> DataSet:
    buckets = KohyaBuckets(
        keys.switch("enable_bucket"),
        _resolution(keys),
        keys.integer("min_bucket_reso", 256),
        keys.integer("max_bucket_reso", 1024),
        keys.integer("bucket_reso_steps", 64),
        keys.switch("bucket_no_upscale"),
    )
    if buckets.step < 1:
        raise ConfigError(f"{keys.told('bucket_reso_steps')} must be at least 1")
    batch_size = keys.integer("batch_size", 1)
    if batch_size < 1:
        raise ConfigError(f"{keys.told('batch_size')} must be at least 1")
    return DataSet(folders, batch_size, buckets, keys)


def _resolution(keys: Layered) -> Size:
    said = keys.take("resolution")
    parts = cast("list[object]", said) if isinstance(said, list) else str(said or 1024).split(",")
    try:
        sides = [int(str(part).strip()) for part in parts]
    except ValueError:
        sides = []
    if len(sides) not in (1, 2) or min(sides) < 16:
        raise ConfigError(f"{keys.told('resolution')} must be a side, or width and height")
    return Size(sides[-1], sides[0])


def _in_tree(training: Keys, name: str, keys: Layered) -> Iterator[KohyaFolder]:
    """`10_token class`: how often, and what pictures without a caption say. Others are passed over, as there."""
    place = Path(training.text(name)) if training.has(name) else None
    if place is None:
        return
    if not place.is_dir():
        folder = _folder(keys, place, "", is_class=name == "reg_data_dir")
        yield folder
        return
    found = False
    for inside in sorted(one for one in place.iterdir() if one.is_dir()):
        number, _, tokens = inside.name.partition("_")
        if re.fullmatch(r"[+-]?\d+", number) and int(number) >= 1:
            found = True
            yield _folder(keys, inside, tokens, name == "reg_data_dir", repeats=int(number))
    if not found:
        inner = re.match(r"\d+_", place.name)
        raise ConfigError(
            f"{training.told(name)}: there is no folder such as `10_token class` in it",
            remedy="Name the folder around it."
            if inner
            else "sd-scripts would train on nothing; put pictures into one.",
        )


def _folder(keys: Layered, place: Path, tokens: str, is_class: bool, *, repeats: int | None = None) -> KohyaFolder:
    times = keys.integer("num_repeats", 1) if repeats is None else repeats
    if times < 1:
        raise ConfigError(f"{keys.told('num_repeats')} must be at least 1", remedy="sd-scripts would pass it over.")
    suffix = keys.text("caption_extension") or keys.text("caption_extention") or ".caption"
    folder = PictureFolder(
        place,
        times,
        prompt=tokens.strip() or None,
        suffix=suffix if suffix.startswith(".") else f".{suffix}",
        first_line=not keys.switch("enable_wildcard"),
        theirs=f"{shown(place, limit=200)}, {times} repeats",
    )
    return KohyaFolder(folder, is_class, keys)


def _captions(draft: Draft, one: KohyaFolder) -> None:
    keys = one.keys
    folder = one.folder
    if folder.suffix == ".caption" and not keys.has("caption_extension"):
        texts = sum(1 for picture in folder.pictures() if picture.with_suffix(".txt").is_file())
        if texts:
            draft.avoid(
                "caption_extension is .caption unless said",
                f"sd-scripts would not have read {counted(texts, '.txt file')} and would have trained on "
                f"{shown(folder.prompt or 'no caption')!r} instead; lorasmith reads them, unless the pictures are "
                "laid into a folder by --gather",
            )
    for name, ours in (
        ("shuffle_caption", "data.shuffle_tags"),
        ("keep_tokens", "data.keep_tags"),
        ("caption_dropout_rate", "data.caption_dropout"),
        ("caption_tag_dropout_rate", "data.tag_dropout"),
        ("caption_separator", "data.tag_separator"),
        ("enable_wildcard", "data.wildcards"),
    ):
        _variation(draft, keys, name, ours)
    for name in ("caption_prefix", "caption_suffix"):
        if keys.has(name):
            told, text = keys.told(name), keys.text(name)
            draft.lose(told, f"captions are read as they stand: write {shown(text)!r} into them")


def _variation(draft: Draft, keys: Layered, name: str, ours: str) -> None:
    value = keys.take(name)
    if value in (None, False, 0, "0", 0.0) or (name == "caption_separator" and value == ","):
        return
    kind = {"shuffle_caption": "switch", "enable_wildcard": "switch", "caption_separator": "text"}.get(name, "number")
    if kind == "switch" and not keys.switch(name):
        return
    carried = keys.integer(name, 0) if name == "keep_tokens" else keys.number(name, 0) if kind == "number" else value
    carried = True if kind == "switch" else carried
    if name == "enable_wildcard":
        draft.carry("data.caption_lines", "several", keys.told(name), remark="one of the lines is drawn each time")
    draft.carry(ours, carried, keys.told(name))


def _augmentation(draft: Draft, one: KohyaFolder) -> None:
    keys = one.keys
    if keys.switch("flip_aug") and not one.is_class:
        draft.carry("data.flip", True, keys.told("flip_aug"))
    if keys.switch("random_crop") and not one.is_class:
        draft.carry("data.crop", "random", keys.told("random_crop"))
    if keys.switch("alpha_mask") and draft.value("data.use_masks"):
        draft.carry("data.alpha_mask", True, keys.told("alpha_mask"))
    if keys.has("conditioning_data_dir") and draft.value("data.use_masks") and not one.is_class:
        draft.carry("data.masks", keys.text("conditioning_data_dir"), keys.told("conditioning_data_dir"))
    keys.take("conditioning_data_dir")
    for name, instead in _PICTURE_KEYS.items():
        value = keys.take(name)
        if value not in (None, False, 0, 0.0, "", "0", "1", 1):
            draft.lose(f"{name} = {as_text(value)}", instead)


_PICTURE_KEYS: Final = {
    "color_aug": "no changes of colour",
    "face_crop_aug_range": "no cropping around faces",
    "token_warmup_min": "whole captions from the beginning",
    "token_warmup_step": "whole captions from the beginning",
    "caption_dropout_every_n_epochs": "captions in every epoch",
    "keep_tokens_separator": "keep_tokens counts tags instead",
    "secondary_separator": "every comma separates tags",
    "custom_attributes": "no effect",
    "resize_interpolation": "data.interpolation (lanczos)",
    "metadata_file": "no captions from sd-scripts' metadata: write a metadata.jsonl with file_name and text",
    "validation_split": "validation.held_out counts pictures",
    "validation_seed": "runtime.seed",
    "network_multiplier": "1",
    "cache_info": "caches are lorasmith's own",
}


def _cut(draft: Draft, sets: Sequence[DataSet]) -> None:
    one = sets[0]
    size, keys = one.buckets.resolution, one.keys
    side = round(math.sqrt(size.height * size.width) / 32) * 32
    draft.carry("data.resolution", side, keys.told("resolution", 1024))
    if (size.height, size.width) != (side, side):
        draft.avoid(
            "width and height",
            f"{keys.told('resolution')} (width, height): lorasmith has the side of a square; {side} has the same area",
        )
    draft.carry("data.buckets", one.buckets.enabled, keys.told("enable_bucket", default=False))
    if one.buckets.enabled:
        named = [name for name in ("min_bucket_reso", "max_bucket_reso", "bucket_reso_steps") if keys.has(name)]
        for name in named:
            draft.lose(keys.told(name), "buckets in steps of 32 pixels, up to 2.5:1, of at most the square's area")
        if one.buckets.no_upscale:
            draft.avoid(
                "bucket_no_upscale",
                "lorasmith makes small pictures as large as their bucket; leave out or enlarge those below "
                f"{side}×{side} pixels if that matters",
            )
    if any(other.buckets != one.buckets for other in sets[1:]):
        draft.lose(f"{counted(len(sets), 'data set')} of different sizes", "all pictures at the first one's")


def _batch(draft: Draft, sets: Sequence[DataSet], *, has_classes: bool) -> None:
    size, told = sets[0].batch_size, sets[0].keys.told("batch_size", 1)
    if has_classes:
        half = max(1, size // 2)
        draft.carry("schedule.batch_size", half, told, remark="as many class images are seen beside")
        draft.avoid(
            "a batch with reg images",
            f"{told}: sd-scripts mixes both into it; here {half} instance and {half} class images make a step"
            + ("" if size % 2 == 0 else ", which is one more picture than there"),
        )
    else:
        draft.carry("schedule.batch_size", size, told)


def _prior(draft: Draft, classes: Sequence[KohyaFolder], instance: Sequence[KohyaFolder], training: Keys) -> None:
    first, *more = classes
    folder = first.folder
    draft.carry("prior.class_images", folder.path, folder.theirs)
    draft.carry("prior.class_prompt", folder.prompt or folder.path.name, folder.theirs)
    draft.carry("prior.weight", training.number("prior_loss_weight", 1.0), training.told("prior_loss_weight", 1.0))
    there = len(folder.pictures())
    shown_often = sum(one.folder.repeats * len(one.folder.pictures()) for one in instance)
    if there:
        used = min(there, shown_often or there)
        draft.carry("prior.num_class_images", used, f"{counted(there, 'picture')} in {shown(folder.path)}")
        if used < there:
            draft.avoid("more reg images than instance images", f"sd-scripts would never show {there - used} of them")
    for other in more:
        draft.lose(other.folder.theirs, "one folder of class images: this one is left out")


def _batches(draft: Draft, sets: Sequence[DataSet]) -> int | None:
    total = 0
    for one in sets:
        instance = [shown for each in one.folders if not each.is_class for shown in _shown(each.folder)]
        classes = [shown for each in one.folders if each.is_class for shown in _shown(each.folder)]
        if any(not each.folder.pictures() for each in one.folders):
            return None
        often = sum(picture.times for picture in instance)
        everything = [*instance, *kohya_class_images(often, classes)]
        total += kohya_batches(everything, one.buckets, one.batch_size)
    return total or None


def _shown(folder: PictureFolder) -> Iterator[Shown]:
    return (Shown(size, folder.repeats) for size in folder.sizes())
