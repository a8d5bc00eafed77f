"""Caches are listed, verified and pruned by what their own files say, and nobody else's file is ever touched."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from filelock import FileLock

from lorasmith.data.cache import LatentCache, file_of
from lorasmith.data.cache_folder import (
    CacheFolders,
    PruneRules,
    cache_folders,
    damaged_in,
    grouped,
    kept_in,
    remove,
    to_prune,
)
from lorasmith.data.dataset_pictures import KeptPictures, kept_pictures
from lorasmith.data.dataset_rows import Row, Table
from lorasmith.events import WorkDone, ignore
from lorasmith.models.family import LatentDistribution

DAY = 86_400


def key(number: int) -> str:
    return f"{number:02x}" + "0" * 62


def fill(folder: Path, count: int, *, encoder: str = "a" * 64, first: int = 0) -> list[Path]:
    cache = LatentCache(folder)
    for number in range(first, first + count):
        latents = torch.full((1, 4, 2, 2), float(number))
        cache.put(key(number), LatentDistribution(latents, latents + 0.5), encoder=encoder)
    return [file_of(folder, key(number)) for number in range(first, first + count)]


class TwoPictures(Table):
    """A data set of two pictures."""

    def rows(self, image_column: str, *, first: int = 0) -> Iterator[Row]:
        """The rows from `first` on."""
        assert image_column == "image"
        yield from [Row(b"\xff\xd8 first", {}), Row(b"\x89PNG second", {})][first:]


def keep_data_set(folder: Path, name: str = "d" * 32) -> KeptPictures:
    table = TwoPictures({"image": "picture"}, 2, folder, None)
    return kept_pictures(folder / "datasets" / name, lambda: table, None, ignore)


def age(path: Path, days: float) -> None:
    then = time.time() - days * DAY
    os.utime(path, (then, then))


def flip_a_bit(file: Path, at: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[at] ^= 1
    file.write_bytes(content)


def everything(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def names(folders: CacheFolders, rules: PruneRules) -> list[str]:
    return [kept.path.parent.name for kept in to_prune(folders, rules)]


def change_a_picture(kept: Path) -> None:
    flip_a_bit(next(kept.glob("pictures/000001-*")))


def take_a_picture_away(kept: Path) -> None:
    next(kept.glob("pictures/000000-*")).unlink()


def empty_the_list(kept: Path) -> None:
    (kept / "rows.jsonl").write_text("")


def tear_the_record(kept: Path) -> None:
    (kept / "data-set.json").write_text("{")


def test_what_is_kept_is_counted_by_kind_and_encoder(tmp_path: Path) -> None:
    files = fill(tmp_path, 3) + fill(tmp_path, 2, encoder="b" * 64, first=3)
    keep_data_set(tmp_path)
    for file in files[:3]:
        age(file, 10)
    first, second, data_set = grouped(kept_in(cache_folders(tmp_path)))
    assert (first.kind, first.encoder, first.count) == ("latents", "a" * 64, 3)
    assert first.bytes == sum(file.stat().st_size for file in files[:3])
    assert abs(time.time() - first.used - 10 * DAY) < 60
    assert (second.encoder, second.count) == ("b" * 64, 2)
    assert (data_set.kind, data_set.count, data_set.encoder) == ("data set", 1, None)


def test_reading_a_picture_from_the_cache_is_a_use_of_it(tmp_path: Path) -> None:
    (file,) = fill(tmp_path, 1)
    age(file, 10)
    LatentCache(tmp_path).get(key(0))
    assert time.time() - file.stat().st_mtime < 60


def test_listing_and_verifying_are_no_use_of_it(tmp_path: Path) -> None:
    (file,) = fill(tmp_path, 1)
    age(file, 10)
    list(kept_in(cache_folders(tmp_path)))
    assert list(damaged_in(cache_folders(tmp_path))) == []
    assert time.time() - file.stat().st_mtime > 9 * DAY


def test_a_flipped_bit_is_found_and_named_and_the_others_pass(tmp_path: Path) -> None:
    files = fill(tmp_path, 4)
    flip_a_bit(files[2])
    said: list[object] = []
    (damaged,) = damaged_in(cache_folders(tmp_path), said.append)
    assert (damaged.file, damaged.reason) == (files[2], "its checksum differs")
    assert said == [WorkDone("verifying", number, 4) for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("at", range(0, 300, 7))
def test_a_flipped_bit_anywhere_in_a_file_is_found(tmp_path: Path, at: int) -> None:
    (file,) = fill(tmp_path, 1)
    whole = file.read_bytes()
    flip_a_bit(file, at)
    found = list(damaged_in(cache_folders(tmp_path)))
    same = LatentCache(tmp_path).get(key(0))
    assert found or (same is not None and bool((same.mean == 0.0).all() and (same.std == 0.5).all())), whole[at]


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (change_a_picture, "000001-"),
        (take_a_picture_away, "000000-"),
        (empty_the_list, "rows.jsonl"),
        (tear_the_record, "d" * 32),
    ],
)
def test_a_damaged_data_set_is_found(tmp_path: Path, spoil: Callable[[Path], object], named: str) -> None:
    kept = keep_data_set(tmp_path).folder.parent
    assert list(damaged_in(cache_folders(tmp_path))) == []
    spoil(kept)
    (damaged,) = damaged_in(cache_folders(tmp_path))
    assert damaged.file.name.startswith(named)
    assert remove(damaged.kept)
    assert not kept.exists()


def test_nothing_is_pruned_unless_a_rule_says_so(tmp_path: Path) -> None:
    for file in fill(tmp_path, 2):
        age(file, 1000)
    assert to_prune(cache_folders(tmp_path), PruneRules()) == ()


def test_what_was_not_used_for_long_is_pruned_first(tmp_path: Path) -> None:
    files = fill(tmp_path, 4)
    for file, days in zip(files, (1, 40, 5, 90), strict=True):
        age(file, days)
    folders = cache_folders(tmp_path)
    assert names(folders, PruneRules(older_than_days=30)) == ["03", "01"]
    assert names(folders, PruneRules(most_bytes=files[0].stat().st_size * 3)) == ["03"]
    assert names(folders, PruneRules(most_bytes=0)) == ["03", "01", "02", "00"]


def test_an_idle_encoder_goes_whole_and_a_busy_one_stays_whole(tmp_path: Path) -> None:
    old = fill(tmp_path, 2)
    busy = fill(tmp_path, 2, encoder="b" * 64, first=2)
    for file in (*old, busy[0]):
        age(file, 60)
    assert sorted(names(cache_folders(tmp_path), PruneRules(idle_encoders_days=30))) == ["00", "01"]


def test_what_a_killed_write_left_is_pruned_a_day_later(tmp_path: Path) -> None:
    (file,) = fill(tmp_path, 1)
    left = file.with_name(f".{file.name}.123-0a1b2c3d.part")
    unfinished = tmp_path / "datasets" / f"{'e' * 32}.part"
    unfinished.mkdir(parents=True)
    left.write_bytes(b"half")
    assert to_prune(cache_folders(tmp_path), PruneRules()) == ()
    for path in (left, unfinished):
        age(path, 2)
    pruned = to_prune(cache_folders(tmp_path), PruneRules())
    assert {kept.path for kept in pruned} == {left, unfinished}
    assert all(remove(kept) for kept in pruned)
    assert file.exists()
    assert not left.exists()


def test_no_file_but_our_own_is_ever_touched(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    outside = tmp_path / "outside"
    (file, *_) = fill(folder, 2)
    kept = keep_data_set(folder).folder.parent
    fill(outside, 1, first=7)
    theirs = [
        folder / "notes.txt",
        folder / "ab" / "notes.safetensors",
        folder / "ab" / f"{'0' * 61}.safetensors",
        folder / "AB" / f"{'0' * 62}.safetensors",
        folder / "deep" / "00" / f"{'0' * 62}.safetensors",
        folder / "datasets" / "mine" / "picture.jpg",
        kept / "pictures" / "mine.jpg",
        kept / "mine.txt",
    ]
    for path in theirs:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    (folder / "07").symlink_to(outside / "07")
    (folder / "00" / f"{'f' * 62}.safetensors").symlink_to(outside / "07" / f"{'0' * 62}.safetensors")
    for kept_thing in to_prune(cache_folders(folder), PruneRules(most_bytes=0)):
        assert remove(kept_thing)
    assert all(path.read_text() == "mine" for path in theirs)
    assert len(everything(outside)) == 1
    assert not file.exists()
    assert not list(kept.glob("pictures/00*"))


def test_a_data_set_that_is_being_read_is_left_alone(tmp_path: Path) -> None:
    kept = keep_data_set(tmp_path).folder.parent
    (found,) = kept_in(cache_folders(tmp_path))
    with FileLock(kept.with_name(f"{kept.name}.lock")):
        assert not remove(found)
    assert (kept / "data-set.json").exists()


def test_without_a_folder_the_users_own_cache_is_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folders(None) == CacheFolders(tmp_path / "lorasmith" / "latents", tmp_path / "lorasmith")
