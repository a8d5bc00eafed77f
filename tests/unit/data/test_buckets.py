"""Buckets have sides that fit, never more pixels than the square, and each picture goes to the nearest shape."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lorasmith.data.buckets import assign, bucket_sizes, targets_of
from lorasmith.errors import ConfigError
from lorasmith.sizes import Size


@given(st.sampled_from([(1024, 32), (1024, 64), (768, 32), (512, 32), (256, 8), (128, 8), (64, 8)]))
def test_sides_fit_and_no_bucket_needs_more_memory_than_the_square(base: tuple[int, int]) -> None:
    resolution, multiple = base
    buckets = bucket_sizes(resolution, multiple=multiple)
    assert Size(resolution, resolution) in buckets
    for height, width in buckets:
        assert height % multiple == width % multiple == 0
        assert height * width <= resolution**2
        assert height * width > 0.75 * resolution**2
        assert max(height, width) <= 2.5 * min(height, width)
        assert Size(width, height) in buckets, "what is there upright is there lying"
    assert len(set(buckets)) == len(buckets)


def test_real_scale_has_the_sizes_sdxl_was_trained_on_that_fit() -> None:
    buckets = bucket_sizes(1024, multiple=64)
    for size in (Size(1024, 1024), Size(1152, 896), Size(832, 1216), Size(1344, 768)):
        assert size in buckets, "SDXL paper, arXiv 2307.01952, appendix I"


def test_the_ratio_is_bounded_as_told() -> None:
    assert all(max(size) <= 1.5 * min(size) for size in bucket_sizes(1024, multiple=32, max_ratio=1.5))
    assert len(bucket_sizes(1024, multiple=32)) > len(bucket_sizes(1024, multiple=32, max_ratio=1.5))


def test_a_resolution_smaller_than_the_multiple_is_refused() -> None:
    with pytest.raises(ConfigError, match="no size with sides in multiples of 32"):
        bucket_sizes(16, multiple=32)


@given(st.integers(1, 9000), st.integers(1, 9000))
def test_each_picture_goes_to_the_bucket_of_the_nearest_shape(height: int, width: int) -> None:
    buckets = bucket_sizes(1024, multiple=32)
    chosen = assign(Size(height, width), buckets)

    def difference(bucket: Size) -> float:
        return abs(math.log(width / height) - math.log(bucket.width / bucket.height))

    assert difference(chosen) <= min(map(difference, buckets)) + 1e-6


def test_upright_and_lying_pictures_part() -> None:
    buckets = bucket_sizes(1024, multiple=32)
    assert assign(Size(4000, 3000), buckets) == Size(*reversed(assign(Size(3000, 4000), buckets)))
    assert assign(Size(4000, 3000), buckets).height > 1024
    assert assign(Size(777, 777), buckets) == Size(1024, 1024)


def test_among_buckets_of_one_shape_the_largest_is_taken() -> None:
    assert assign(Size(10, 10), [Size(32, 32), Size(64, 64), Size(32, 64)]) == Size(64, 64)


def test_without_buckets_there_is_the_square_alone() -> None:
    assert targets_of(100, buckets=False) == (Size(100, 100),)


def test_multiples_are_32_at_real_scale_and_8_below() -> None:
    assert all(side % 32 == 0 for size in targets_of(512, buckets=True) for side in size)
    assert any(side % 32 for size in targets_of(256, buckets=True) for side in size)
