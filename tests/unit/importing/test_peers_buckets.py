"""The sizes that other trainers cut pictures to, which decide how many batches an epoch has."""

import pytest

from lorasmith.importing.epochs import KohyaBuckets, Shown, kohya_batches, kohya_class_images, onetrainer_bucket
from lorasmith.sizes import Size

KOHYA = KohyaBuckets(enabled=True, resolution=Size(1024, 1024))


@pytest.mark.parametrize(
    ("size", "bucket"),
    [(Size(1000, 1000), Size(1024, 1024)), (Size(800, 1200), Size(704, 1024)), (Size(2000, 1000), Size(1024, 512))],
)
def test_sd_scripts_takes_the_nearest_shape_of_its_ladder(size: Size, bucket: Size) -> None:
    assert KOHYA.of(size) == bucket


def test_a_larger_limit_gives_longer_buckets() -> None:
    wide = KohyaBuckets(enabled=True, resolution=Size(1024, 1024), largest=2048)
    assert wide.of(Size(1000, 2000)) == Size(704, 1408)


def test_without_upscaling_small_pictures_keep_their_size_in_steps() -> None:
    small = KohyaBuckets(enabled=True, resolution=Size(1024, 1024), no_upscale=True)
    assert small.of(Size(500, 700)) == Size(448, 640)
    assert small.of(Size(2000, 2000)) == Size(1024, 1024)
    large = small.of(Size(3000, 2000))
    assert large.height * large.width <= 1024 * 1024
    assert small.of(Size(10, 2000)).height == 64


def test_without_buckets_there_is_one_size() -> None:
    assert KohyaBuckets(enabled=False, resolution=Size(768, 512)).of(Size(10, 900)) == Size(768, 512)


def test_short_batches_count_in_each_bucket() -> None:
    pictures = [Shown(Size(1000, 1000), 3)] * 3 + [Shown(Size(800, 1200), 1)]
    assert kohya_batches(pictures, KOHYA, 4) == 3 + 1


@pytest.mark.parametrize(
    ("instance", "repeats", "times"),
    [(10, [1, 1, 1], [4, 3, 3]), (2, [1, 1, 1], [1, 1]), (5, [2, 2], [3, 2]), (3, [5], [5]), (4, [], [])],
)
def test_class_images_are_shown_as_often_as_instance_images(
    instance: int, repeats: list[int], times: list[int]
) -> None:
    shown = kohya_class_images(instance, [Shown(Size(64, 64), one) for one in repeats])
    assert [one.times for one in shown] == times


@pytest.mark.parametrize(
    ("size", "bucket"),
    [(Size(900, 900), Size(1024, 1024)), (Size(1200, 800), Size(1280, 832)), (Size(100, 400), Size(512, 2048))],
)
def test_onetrainers_sizes(size: Size, bucket: Size) -> None:
    assert onetrainer_bucket(size, 1024) == bucket


def test_small_resolutions_have_buckets_too() -> None:
    assert min(onetrainer_bucket(Size(10, 400), 64)) >= 64
