"""Class images are drawn once each, can be gone on with after any stop, and half a file never counts."""

import errno
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from made_pictures import RED, plain, save
from PIL import Image

from lorasmith.data.class_images import (
    class_image_path,
    class_images,
    draw_missing_class_images,
    missing_class_images,
)
from lorasmith.errors import DataError, ResourceError
from lorasmith.events import Event, WorkDone, ignore


def shade(indices: Sequence[int]) -> list[Image.Image]:
    """A picture that shows its index."""
    return [plain((index, 0, 0)) for index in indices]


def contents(folder: Path) -> dict[str, int]:
    return {path.name: int(np.asarray(Image.open(path))[0, 0, 0]) for path in class_images(folder)}


def fill(folder: Path, wanted: int, *, seed: int = 0, batch_size: int = 3) -> int:
    return draw_missing_class_images(folder, wanted, draw=shade, seed=seed, batch_size=batch_size, emit=ignore)


def test_what_is_missing_is_drawn_and_told(tmp_path: Path) -> None:
    events: list[Event] = []
    folder = tmp_path / "not" / "there yet"
    assert missing_class_images(folder, 5) == 5
    drawn = draw_missing_class_images(folder, 5, draw=shade, seed=0, batch_size=2, emit=events.append)
    assert drawn == 5
    assert contents(folder) == {f"class-0-{index:05d}.png": index for index in range(5)}
    assert events == [WorkDone("drawing class images", done, 5) for done in (2, 4, 5)]
    assert missing_class_images(folder, 5) == 0


def test_nothing_is_drawn_when_enough_are_there(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    assert fill(tmp_path, 4) == 0
    assert fill(tmp_path, 2) == 0
    assert len(contents(tmp_path)) == 4


def test_somebody_elses_pictures_count_and_stay(tmp_path: Path) -> None:
    save(plain(RED), tmp_path / "mine.jpg")
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    assert missing_class_images(tmp_path, 3) == 2
    assert fill(tmp_path, 3) == 2
    assert sorted(contents(tmp_path)) == ["class-0-00000.png", "class-0-00001.png", "mine.jpg"]


def test_stopping_in_the_middle_and_going_on_gives_the_same_pictures(tmp_path: Path) -> None:
    def stopping(indices: Sequence[int]) -> list[Image.Image]:
        if 3 in indices:
            raise KeyboardInterrupt
        return shade(indices)

    with pytest.raises(KeyboardInterrupt):
        draw_missing_class_images(tmp_path / "a", 7, draw=stopping, seed=0, batch_size=2, emit=ignore)
    assert len(contents(tmp_path / "a")) == 2
    events: list[Event] = []
    draw_missing_class_images(tmp_path / "a", 7, draw=shade, seed=0, batch_size=3, emit=events.append)
    fill(tmp_path / "b", 7)
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert events == [WorkDone("drawing class images", done, 7) for done in (5, 7)]


def test_one_that_was_taken_away_is_drawn_again_as_it_was(tmp_path: Path) -> None:
    fill(tmp_path, 4)
    before = contents(tmp_path)
    class_image_path(tmp_path, 2, 0).unlink()
    assert fill(tmp_path, 4) == 1
    assert contents(tmp_path) == before


def test_a_half_written_file_never_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(descriptor: int) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", killed)
        with pytest.raises(KeyboardInterrupt):
            fill(tmp_path, 2)
    assert list(tmp_path.iterdir()) == []
    assert missing_class_images(tmp_path, 2) == 2


def test_another_seed_does_not_overwrite(tmp_path: Path) -> None:
    fill(tmp_path, 2, seed=0)
    assert fill(tmp_path, 3, seed=1) == 1
    assert sorted(contents(tmp_path)) == ["class-0-00000.png", "class-0-00001.png", "class-1-00000.png"]


def test_a_full_disk_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[int] = []

    def full_after_two(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 4:  # each picture is flushed to the disk, and then its folder
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_after_two)
    with pytest.raises(ResourceError, match=r"the disk is full .*Make room and run again"):
        fill(tmp_path, 5)
    assert len(list(tmp_path.iterdir())) == 2
    assert len(class_images(tmp_path)) == 2


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x", encoding="utf-8")
    with pytest.raises(DataError, match=r"is a file, not a folder \(prior\.class_images\)"):
        missing_class_images(tmp_path / "file", 1)
