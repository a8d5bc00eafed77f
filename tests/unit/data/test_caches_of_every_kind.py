"""Each kind of thing that lorasmith keeps is listed, its flipped bits are found, and it can be removed."""

import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from lorasmith.checking import kept as keeping
from lorasmith.checking.examine import Examination
from lorasmith.data import cache as caching
from lorasmith.data.archives import unpacked
from lorasmith.data.cache import LatentCache
from lorasmith.data.cache_folder import (
    PURPOSES,
    Kind,
    PruneRules,
    cache_folders,
    damaged_in,
    grouped,
    kept_in,
    remove,
    to_prune,
)
from lorasmith.evaluation.drawing import PictureCache
from lorasmith.events import ignore
from lorasmith.models.family import LatentDistribution
from lorasmith.testing import pictures

KEY = "0a" + "b" * 62


def make_latents(folder: Path) -> Path:
    latents = torch.ones(1, 4, 2, 2)
    LatentCache(folder).put(KEY, LatentDistribution(latents, latents + 0.5), encoder="e" * 64)
    return folder / KEY[:2] / f"{KEY[2:]}.safetensors"


def make_mask(folder: Path) -> Path:
    file = folder / "masks" / KEY[:2] / f"{KEY[2:]}.png"
    file.parent.mkdir(parents=True)
    Image.effect_noise((16, 16), 50).save(file)
    return file


def make_drawn(folder: Path) -> Path:
    PictureCache(folder / "evaluation").put(KEY, Image.effect_noise((16, 16), 50).convert("RGB"))
    return folder / "evaluation" / KEY[:2] / f"{KEY}.png"


def make_zip(folder: Path) -> Path:
    made = pictures(folder.parent / "mine", 2)
    archive = folder.parent / "mine.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for picture in made:
            opened.write(picture, picture.name)
    return unpacked(archive, folder, ignore) / made[1].name


def make_check(folder: Path) -> Path:
    file = folder / "checks" / "examined.sqlite"
    with keeping.kept_examinations(file, settings=[]) as kept:
        kept.put("a" * 64, Examination(None, None, None, "it cannot be read", "Leave it out."))
    return file


MAKERS: dict[Kind, Callable[[Path], Path]] = {
    "latents": make_latents, "mask": make_mask, "drawn": make_drawn, "zip": make_zip, "check": make_check,
}  # fmt: skip
"""Data sets have tests of their own; what a killed write leaves too."""


def flip_a_bit(file: Path) -> None:
    """In the middle of what is told, wherever that is."""
    content = bytearray(file.read_bytes())
    said = content.find(b"it cannot be read")
    content[said if said > 0 else len(content) // 2] ^= 1
    file.write_bytes(content)


def test_every_kind_has_a_purpose_and_a_test() -> None:
    assert set(MAKERS) | {"data set", "left over"} == set(PURPOSES)


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_listed_with_its_size(kind: Kind, tmp_path: Path) -> None:
    file = MAKERS[kind](tmp_path / "cache")
    (group,) = grouped(kept_in(cache_folders(tmp_path / "cache")))
    assert (group.kind, group.count) == (kind, 1)
    assert group.bytes >= file.stat().st_size
    assert time.time() - group.used < 60


@pytest.mark.parametrize("kind", MAKERS)
def test_a_flipped_bit_is_found_and_nothing_before_it(kind: Kind, tmp_path: Path) -> None:
    file = MAKERS[kind](tmp_path / "cache")
    folders = cache_folders(tmp_path / "cache")
    assert not list(damaged_in(folders))
    flip_a_bit(file)
    (damaged,) = damaged_in(folders)
    assert (damaged.file, damaged.kept.kind) == (file, kind)
    assert damaged.reason


@pytest.mark.parametrize("kind", MAKERS)
def test_it_is_pruned_when_told_and_comes_back_by_itself(kind: Kind, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    file = MAKERS[kind](folder)
    mine = file.parent / "mine.txt"
    mine.write_text("mine")
    assert not to_prune(cache_folders(folder), PruneRules(older_than_days=1))
    (out,) = to_prune(cache_folders(folder), PruneRules(most_bytes=0))
    assert remove(out)
    assert not file.exists()
    assert mine.read_text() == "mine"
    if kind != "mask":
        assert MAKERS[kind](folder).exists()


def test_a_damaged_file_of_an_unpacked_zip_is_unpacked_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = make_zip(tmp_path / "cache")
    whole = file.read_bytes()
    flip_a_bit(file)
    other = next(path for path in file.parent.iterdir() if path != file)
    before = other.stat().st_mtime_ns
    unpacked(tmp_path / "mine.zip", tmp_path / "cache", ignore)
    assert file.read_bytes() == whole
    assert other.stat().st_mtime_ns == before
    assert file.name in caplog.text


def test_a_damaged_result_of_a_check_is_not_taken_for_one(tmp_path: Path) -> None:
    file = make_check(tmp_path / "cache")
    with keeping.kept_examinations(file, settings=[]) as kept:
        assert kept.get("a" * 64) is not None
    flip_a_bit(file)
    with keeping.kept_examinations(file, settings=[]) as kept:
        assert kept.get("a" * 64) is None


def test_looking_at_a_drawn_picture_is_a_use_of_it(tmp_path: Path) -> None:
    file = make_drawn(tmp_path / "cache")
    os.utime(file, (0, 0))
    assert PictureCache(tmp_path / "cache" / "evaluation").get(KEY) is not None
    assert time.time() - file.stat().st_mtime < 60


def test_memory_stays_flat_where_the_disk_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "_MOST_IN_MEMORY", 1000)
    held: list[int] = []
    reads: list[Path] = []
    read = caching.read_stored

    def counting(file: Path) -> caching.StoredLatents:
        reads.append(file)
        return read(file)

    monkeypatch.setattr(caching, "read_stored", counting)
    for folder in (tmp_path / "cache", None):
        cache = LatentCache(folder)
        keys = [f"{number:064x}" for number in range(50)]
        for number, key in enumerate(keys):
            latents = torch.full((1, 4, 2, 2), float(number))
            cache.put(key, LatentDistribution(latents, latents + 0.5))
        before = len(reads)
        again = [cache.get(key) for key in keys]
        assert [float(one.mean.mean()) for one in again if one] == [float(number) for number in range(50)]
        held.append(len(reads) - before)
    assert held[0] == 50, "most had made room, and reading them again makes room for the next"
    assert held[1] == 0, "without a disk, memory keeps all"
