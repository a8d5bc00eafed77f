"""Owns the sizes pictures of different shapes are trained at, and which one a picture belongs to."""

import math
from collections.abc import Sequence

from lorasmith.errors import ConfigError
from lorasmith.sizes import Size


def targets_of(resolution: int, *, buckets: bool) -> tuple[Size, ...]:
    """The sizes pictures are cut to: the square alone, or all buckets of about its area."""
    if not buckets:
        return (Size(resolution, resolution),)
    return bucket_sizes(resolution, multiple=usual_multiple(resolution))


def usual_multiple(resolution: int) -> int:
    """What sides are multiples of: 32 pixels at real scale, 8 on small bases."""
    return 32 if resolution >= 512 else 8


def bucket_sizes(resolution: int, *, multiple: int, max_ratio: float = 2.5) -> tuple[Size, ...]:
    """Sizes from upright to lying whose sides are multiples of `multiple`, none with more pixels than the square.

    So a bucket never needs more memory than the square crop does. Raises ConfigError if no size fits.
    """
    area = resolution * resolution
    sides = range(multiple, resolution + 1, multiple)
    upright = [Size(area // side // multiple * multiple, side) for side in sides]
    fitting = {size for size in upright if size.height <= max_ratio * size.width}
    if not fitting:
        raise ConfigError(
            f"no size with sides in multiples of {multiple} fits into {resolution}×{resolution} pixels",
            where="data.resolution",
            remedy=f"Give at least {multiple}.",
        )
    lying = {Size(size.width, size.height) for size in fitting}
    return tuple(sorted(fitting | lying, key=lambda size: (size.width / size.height, size)))


def assign(size: Size, buckets: Sequence[Size]) -> Size:
    """The bucket of the nearest shape (in log aspect ratio); among equals the largest."""
    return min(buckets, key=lambda bucket: (_difference(size, bucket), -bucket.height * bucket.width, bucket))


def _difference(size: Size, bucket: Size) -> float:
    # Rounded, so that buckets of the same shape compare as equal.
    return round(abs(math.log(size.width * bucket.height / (size.height * bucket.width))), 9)
