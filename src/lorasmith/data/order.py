"""Owns which examples meet in which micro-step: a pure function of the seed and the micro-step, with no position kept.

An epoch shows each instance image `repeats` times. Buckets are dealt separately, so that a batch has one size; a
batch that is left short is filled from the beginning of its bucket's order, as further copies with views of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import islice

from lorasmith import rng
from lorasmith.data.buckets import assign
from lorasmith.data.caption_variants import AS_WRITTEN, CaptionOptions, caption_of
from lorasmith.data.examples import Draw, Example, Role
from lorasmith.data.views import AS_IT_IS, ViewSettings, view_of
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Size


@dataclass(frozen=True)
class OrderSettings:
    """How many pictures meet, how often each is seen in an epoch, the sizes they are cut to, and how."""

    batch_size: int
    repeats: int
    targets: tuple[Size, ...]
    """One square, or all buckets."""
    views: ViewSettings
    class_captions: Mapping[str, str] = field(default_factory=dict[str, str])
    """What the twin of an instance image says, by the image's caption; without any there are no twins."""
    captions: CaptionOptions = AS_WRITTEN
    """What is drawn of instance images' captions."""


@dataclass(frozen=True)
class _Seen:
    """One instance image at one place of an epoch."""

    example: Example
    copy: int


class BatchOrder:
    """Which draws each micro-step sees; instance images first, then as many class images if there are any."""

    def __init__(
        self, instance: Sequence[Example], class_examples: Sequence[Example] = (), *, settings: OrderSettings
    ) -> None:
        """Raises DataError when there is no instance image."""
        if not instance:
            raise DataError("there are no instance images to train on")
        self.settings = settings
        self._class_examples = tuple(class_examples)
        self._buckets = _by_bucket(instance, settings.targets)
        # Shuffling 20,000 pictures anew for each micro-step would take longer than the step; two epochs may overlap.
        self._dealt = lru_cache(maxsize=2)(self._deal)
        self._epoch_order = lru_cache(maxsize=2 * len(self._buckets))(self._shuffle_instance)
        self._class_order = lru_cache(maxsize=2)(self._shuffle_class)

    @property
    def micro_steps_per_epoch(self) -> int:
        """Micro-steps in which every instance image is seen `repeats` times."""
        return sum(self._batches_of(bucket) for bucket in self._buckets)

    @property
    def bucket_counts(self) -> dict[Size, int]:
        """How many instance images are cut to which size."""
        return {target: len(examples) for target, examples in self._buckets.items()}

    def draws_at(self, micro_step: int) -> tuple[Draw, ...]:
        """`batch_size` draws of instance images of one target, then as many of class images (or twins) of it."""
        epoch, place = divmod(micro_step, self.micro_steps_per_epoch)
        target, batch = self._dealt(epoch)[place]
        seen = self._epoch_order(epoch, target)
        start = batch * self.settings.batch_size
        places = range(start, start + self.settings.batch_size)
        instance = [self._instance_draw(seen, at, epoch, target) for at in places]
        twins = self._twins(instance)
        return (*map(self._worded, instance), *twins, *self._class_draws(micro_step, target))

    def captions_at(self, micro_step: int) -> tuple[str, ...]:
        """What the micro-step's captions say."""
        return tuple(draw.example.caption for draw in self.draws_at(micro_step))

    def _batches_of(self, target: Size) -> int:
        return -(-len(self._buckets[target]) * self.settings.repeats // self.settings.batch_size)

    def _deal(self, epoch: int) -> list[tuple[Size, int]]:
        """The epoch's batches in order: which bucket, and the how-manieth batch of it."""
        batches = [(target, batch) for target in self._buckets for batch in range(self._batches_of(target))]
        rng.python_random(self._seed, "order", "batches", epoch).shuffle(batches)
        return batches

    def _shuffle_instance(self, epoch: int, target: Size) -> list[_Seen]:
        seen = [_Seen(one, copy) for one in self._buckets[target] for copy in range(self.settings.repeats)]
        rng.python_random(self._seed, "order", "instance", epoch, str(target)).shuffle(seen)
        return seen

    def _instance_draw(self, seen: Sequence[_Seen], at: int, epoch: int, target: Size) -> Draw:
        lap, place = divmod(at, len(seen))
        copy = seen[place].copy + lap * self.settings.repeats
        return self._draw(seen[place].example, epoch, copy, target)

    def _worded(self, draw: Draw) -> Draw:
        caption = caption_of(draw.example, self.settings.captions, epoch=draw.epoch, copy=draw.copy)
        return (
            draw if caption == draw.example.caption else replace(draw, example=replace(draw.example, caption=caption))
        )

    def _twins(self, instance: Sequence[Draw]) -> list[Draw]:
        """The same views under class captions, which follow the captions as they are written."""
        captions = self.settings.class_captions
        return [_twin(draw, captions[draw.example.caption]) for draw in instance] if captions else []

    def _class_draws(self, micro_step: int, target: Size) -> list[Draw]:
        """Class images have laps of their own, however long an epoch of instance images is."""
        if not self._class_examples:
            return []
        first = micro_step * self.settings.batch_size
        return [self._class_draw(place, target) for place in range(first, first + self.settings.batch_size)]

    def _class_draw(self, place: int, target: Size) -> Draw:
        lap, at = divmod(place, len(self._class_examples))
        return self._draw(self._class_order(lap)[at], lap, 0, target)

    def _shuffle_class(self, lap: int) -> list[Example]:
        order = list(self._class_examples)
        rng.python_random(self._seed, "order", "class", lap).shuffle(order)
        return order

    def _draw(self, example: Example, epoch: int, copy: int, target: Size) -> Draw:
        view = view_of(example, target, settings=self.settings.views, epoch=epoch, copy=copy)
        return Draw(example, epoch, copy, view)

    @property
    def _seed(self) -> int:
        return self.settings.views.seed


def _twin(draw: Draw, caption: str) -> Draw:
    return replace(draw, example=replace(draw.example, caption=caption, role=Role.CLASS))


def fixed_draws(
    examples: Sequence[Example], targets: Sequence[Size], views: ViewSettings = AS_IT_IS
) -> tuple[Draw, ...]:
    """Each example once as it is: the middle, not mirrored; each cut to its own target (for validation)."""
    return tuple(
        Draw(one, 0, 0, view_of(one, assign(one.size, targets), settings=views, epoch=0, copy=0)) for one in examples
    )


def held_out(examples: Sequence[Example], count: int, seed: int) -> tuple[tuple[Example, ...], tuple[Example, ...]]:
    """The examples to train on and the `count` kept out, in their old order; raises ConfigError if none is left."""
    if count >= len(examples) and count:
        raise ConfigError(
            f"holding out {count} of {len(examples)} pictures leaves none to train on",
            where="validation.held_out",
            remedy=f"Hold out fewer than {len(examples)}.",
        )
    order = list(range(len(examples)))
    rng.python_random(seed, "held_out").shuffle(order)
    out = set(islice(order, count))
    training = tuple(one for at, one in enumerate(examples) if at not in out)
    return training, tuple(one for at, one in enumerate(examples) if at in out)


def _by_bucket(examples: Sequence[Example], targets: Sequence[Size]) -> dict[Size, list[Example]]:
    buckets: dict[Size, list[Example]] = {}
    for example in examples:
        buckets.setdefault(assign(example.size, targets), []).append(example)
    return dict(sorted(buckets.items()))
