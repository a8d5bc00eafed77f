"""Owns how many optimizer updates the peers make of epochs, by their own rules; each says where it was read."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from lorasmith.sizes import Size


@dataclass(frozen=True)
class Shown:
    """A picture and how often it is shown in an epoch."""

    size: Size
    times: int


@dataclass(frozen=True)
class KohyaBuckets:
    """How sd-scripts chooses a picture's size (`BucketManager` of `library/train_util.py`)."""

    enabled: bool
    resolution: Size
    smallest: int = 256
    largest: int = 1024
    step: int = 64
    no_upscale: bool = False

    def of(self, size: Size) -> Size:
        """The size a picture is trained at."""
        if not self.enabled:
            return self.resolution
        return self._without_upscaling(size) if self.no_upscale else self._nearest(size)

    def _nearest(self, size: Size) -> Size:
        ladder = self._ladder()
        if size in ladder:
            return size
        shape = size.width / size.height
        return min(ladder, key=lambda bucket: abs(bucket.width / bucket.height - shape))

    def _ladder(self) -> tuple[Size, ...]:
        """All sizes, from upright to lying."""
        area = self.resolution.height * self.resolution.width
        side = int(math.sqrt(area) // self.step) * self.step
        found = {Size(side, side)}
        for width in range(self.smallest, self.largest + 1, self.step):
            height = min(self.largest, area // width // self.step * self.step)
            if height >= self.smallest:
                found |= {Size(height, width), Size(width, height)}
        return tuple(sorted(found, key=lambda bucket: (bucket.width, bucket.height)))

    def _without_upscaling(self, size: Size) -> Size:
        shape = size.width / size.height
        area = self.resolution.height * self.resolution.width
        fitted = size
        if size.height * size.width > area:
            fitted = self._shrunk(shape, math.sqrt(area * shape))
        return Size(self._floored(fitted.height), self._floored(fitted.width))

    def _shrunk(self, shape: float, width: float) -> Size:
        """One side a multiple of the step: whichever comes nearer to the picture's shape."""
        area = self.resolution.height * self.resolution.width
        by_width, by_height = self._rounded(width), self._rounded(area / width)
        of_width = by_width / self._rounded(by_width / shape)
        of_height = self._rounded(by_height * shape) / by_height
        if abs(of_width - shape) < abs(of_height - shape):
            return Size(int(by_width / shape + 0.5), by_width)
        return Size(by_height, int(by_height * shape + 0.5))

    def _floored(self, length: int) -> int:
        return max(self.step, length - length % self.step)

    def _rounded(self, length: float) -> int:
        whole = int(length + 0.5)
        return max(self.step, whole - whole % self.step)


def kohya_batches(pictures: Iterable[Shown], buckets: KohyaBuckets, batch_size: int) -> int:
    """Batches in an epoch of one of sd-scripts' data sets: each bucket's last batch may be short."""
    counted = Counter[Size]()
    for picture in pictures:
        counted[buckets.of(picture.size)] += picture.times
    return sum(math.ceil(count / batch_size) for count in counted.values())


def kohya_class_images(instance: int, class_images: Sequence[Shown]) -> tuple[Shown, ...]:
    """sd-scripts shows class images as often as instance images in all, however many there are (`DreamBoothDataset`).

    First each with its folder's repeats, until there are as many; then one more of each in turn.
    """
    times = [0] * len(class_images)
    shown, first = 0, True
    while shown < instance and class_images:
        for at, picture in enumerate(class_images):
            added = picture.times if first else 1
            times[at] += added
            shown += added
            if shown >= instance:
                break
        first = False
    return tuple(Shown(picture.size, count) for picture, count in zip(class_images, times, strict=True) if count)


def kohya_steps(epochs: int, batches: int, accumulation: int) -> int:
    """`train_network.py`: an epoch's last update may gather fewer batches."""
    return epochs * math.ceil(batches / accumulation)


_ONETRAINER_SHAPES: Final = (1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0)
_ONETRAINER_STEP: Final = 64


def onetrainer_bucket(size: Size, resolution: int) -> Size:
    """The size OneTrainer trains a picture at with its buckets (mgds, `AspectBucketing`, steps of 64)."""
    ladder: list[Size] = []
    for shape in _ONETRAINER_SHAPES:
        short, long = (_multiple(resolution * factor) for factor in (1 / math.sqrt(shape), math.sqrt(shape)))
        ladder += [Size(short, long), Size(long, short)]
    return min(ladder, key=lambda bucket: abs(bucket.height / bucket.width - size.height / size.width))


def onetrainer_steps(epochs: int, buckets: Counter[Size], batch_size: int, accumulation: int) -> int:
    """Batches that would be short are dropped (mgds, `AspectBatchSorting`); an update every so many batches."""
    batches = sum(count // batch_size for count in buckets.values())
    return epochs * batches // accumulation


def simpletuner_steps(epochs: float, buckets: Counter[float], batch_size: int, accumulation: int) -> int:
    """Buckets with fewer samples than a batch are dropped; the last batch of others is filled up."""
    batches = sum(math.ceil(count / batch_size) for count in buckets.values() if count >= batch_size)
    return math.ceil(epochs * max(1, math.ceil(batches / accumulation)))


def _multiple(length: float) -> int:
    return max(1, round(length / _ONETRAINER_STEP)) * _ONETRAINER_STEP
