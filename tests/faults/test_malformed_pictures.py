"""Two hundred damaged files through everything that reads pictures: no crash, and each is named with its reason."""

import random
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from lorasmith.checking.page import render
from lorasmith.config.train import TrainConfig
from lorasmith.data.decode import decode, probe
from lorasmith.data.examples import Role
from lorasmith.data.read import read_examples
from lorasmith.errors import DataError
from lorasmith.runs.check import CheckWish, check
from lorasmith.testing import pictures

COUNT = 200
LIMIT = 1_000_000

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")


def whole_file(number: int, rng: random.Random) -> bytes:
    """A picture's bytes, of one format after the other, some with notes of a camera."""
    picture = Image.effect_noise((40 + number % 17, 40), 60).convert(rng.choice(("RGB", "L", "RGB")))
    exif = Image.Exif()
    exif[274] = rng.randint(0, 9)
    content = BytesIO()
    format = FORMATS[number % len(FORMATS)]
    picture.save(content, format, **({"exif": exif} if format in ("JPEG", "PNG", "WEBP") else {}))
    return content.getvalue()


def cut_off(data: bytes, rng: random.Random) -> bytes:
    return data[: rng.randrange(len(data))]


def bits_flipped(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 40)):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def header_rewritten(data: bytes, rng: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(rng.randint(1, 6)):
        changed[rng.randrange(min(80, len(changed)))] = rng.randrange(256)
    return bytes(changed)


def zeroed(data: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(len(data))
    return data[:start] + bytes(len(data) - start)


def spliced(data: bytes, rng: random.Random) -> bytes:
    start, length = rng.randrange(len(data)), rng.randint(1, 60)
    return data[:start] + rng.randbytes(length) + data[start + length // 2 :]


MUTATIONS: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    cut_off, bits_flipped, header_rewritten, zeroed, spliced,
)  # fmt: skip


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of mutated files, with suffixes that may lie."""
    folder = tmp_path_factory.mktemp("damaged")
    for number in range(COUNT):
        rng = random.Random(number)
        data = MUTATIONS[number % len(MUTATIONS)](whole_file(number // len(MUTATIONS), rng), rng)
        (folder / f"{number:03d}{rng.choice(('.png', '.jpg', '.webp', '.bmp'))}").write_bytes(data)
    return folder


def test_each_damaged_file_is_read_whole_or_refused_with_a_reason(damaged: Path) -> None:
    unnamed: list[Path] = []
    for path in sorted(damaged.iterdir()):
        try:
            size = probe(path, pixel_limit=LIMIT)
        except DataError as error:
            unnamed += [] if error.problems[0].what and path.name in str(error) else [path]
        else:
            assert decode(path, background="white", pixel_limit=LIMIT).size == (size.width, size.height)
    assert not unnamed


def test_a_check_names_each_damaged_file_with_its_reason(damaged: Path, tmp_path: Path) -> None:
    config = TrainConfig.model_validate({"data": {"instance_images": damaged, "pixel_limit": LIMIT, "resolution": 32}})
    report = check(config, CheckWish(keep_results=False))
    assert len(report.pictures) == COUNT
    unreadable = [one for one in report.pictures if one.size is None]
    assert len(unreadable) > COUNT / 3
    assert all(one.verdict == "leave_out" and one.findings[0].reason for one in unreadable)
    page = render(report, damaged, pixel_limit=LIMIT)
    assert all(one.id in page for one in unreadable)


def test_reading_for_training_names_the_same_files_as_the_check(damaged: Path, tmp_path: Path) -> None:
    pictures(tmp_path / "whole", 1)
    config = TrainConfig.model_validate({"data": {"instance_images": damaged, "pixel_limit": LIMIT, "resolution": 32}})
    left_out = set(check(config, CheckWish(keep_results=False)).left_out)
    reading = read_examples(
        damaged, prompt="a photo of TOK", caption_column=None, role=Role.INSTANCE, pixel_limit=LIMIT, background="white"
    )
    broken = {one.path.name for one in reading.broken}
    assert all(one.reason for one in reading.broken)
    assert broken <= left_out
    assert len(broken) + len(reading.examples) == COUNT
