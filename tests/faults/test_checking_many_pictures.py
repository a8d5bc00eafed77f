"""Twenty thousand pictures are checked with flat memory, and a check that was stopped goes on where it was."""

import json
import random
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from lorasmith.checking import examine as examining
from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, WorkDone
from lorasmith.runs import check as checks
from lorasmith.runs.check import check
from lorasmith.testing import pictures

MANY = 20_000
MOST_MEMORY = 1.5 * 2**30

SCRIPT = """
import json, resource, sys
from lorasmith.config.train import TrainConfig
from lorasmith.runs.check import check
folder, cache = sys.argv[1:]
config = TrainConfig.model_validate(
    {"data": {"instance_images": folder, "cache_folder": cache, "resolution": 64, "instance_prompt": "a photo of TOK"}}
)
report = check(config)
twins = sum(len(group) for group in report.duplicates)
print(json.dumps([len(report.pictures), twins, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024]))
"""


def config_for(folder: Path, cache: Path) -> TrainConfig:
    """What a check of the folder is asked with."""
    return TrainConfig.model_validate(
        {"data": {"instance_images": folder, "cache_folder": cache, "resolution": 64, "instance_prompt": "a TOK"}}
    )


class StoppedError(Exception):
    """Stands for a signal."""


def test_a_stopped_check_goes_on_without_looking_at_pictures_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "pictures", 6)
    config = config_for(tmp_path / "pictures", tmp_path / "cache")
    looked: list[str] = []

    def counting(path: Path, **settings: object) -> examining.Examination:
        looked.append(path.name)
        return examining.examine(path, **settings)  # pyright: ignore[reportArgumentType]

    def stop_after_four(event: Event) -> None:
        if isinstance(event, WorkDone) and event.done == 4:
            raise StoppedError

    monkeypatch.setattr(checks, "examine", counting)
    with pytest.raises(StoppedError):
        check(config, emit=stop_after_four)
    first = list(looked)
    looked.clear()
    report = check(config)
    assert len(first) == 4
    assert set(looked) == {path.name for path in (tmp_path / "pictures").iterdir()} - set(first)
    looked.clear()
    assert check(config) == report
    assert not looked


def test_a_picture_that_was_changed_is_looked_at_again(tmp_path: Path) -> None:
    first, *_ = pictures(tmp_path / "pictures", 3)
    config = config_for(tmp_path / "pictures", tmp_path / "cache")
    before = check(config).pictures[0]
    Image.new("RGB", (32, 32), "gray").save(first)
    after = check(config).pictures[0]
    assert (before.size, after.size) != (after.size, before.size)
    assert after.verdict == "leave_out"


def test_a_damaged_file_of_results_costs_time_and_nothing_else(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", 3)
    config = config_for(tmp_path / "pictures", tmp_path / "cache")
    report = check(config)
    checks.results_file(config).write_bytes(b"this is no database" * 200)
    assert check(config) == report


def test_progress_is_told_picture_by_picture(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", 3)
    told: list[Event] = []
    check(config_for(tmp_path / "pictures", tmp_path / "cache"), emit=told.append)
    assert [(event.done, event.total) for event in told if isinstance(event, WorkDone)] == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.slow
def test_twenty_thousand_pictures_take_less_than_a_gibibyte_and_a_half(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(MANY):
        scene(number).save(folder / f"{number:05d}.png", compress_level=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / "cache")], capture_output=True, text=True, check=True
    )
    count, twins, memory = json.loads(found.stdout.strip().splitlines()[-1])
    sys.stdout.write(f"{count} pictures, {twins} in groups of twins, {memory / 2**20:.0f} MiB (here {before} KiB)\n")
    assert count == MANY
    assert memory < MOST_MEMORY


def scene(number: int) -> Image.Image:
    """A small picture unlike the others, but every hundredth, which is the one before it in another light."""
    twin = number % 100 == 99
    rng = random.Random(number - 1 if twin else number)
    picture = Image.new("RGB", (96, 96), tuple(rng.randrange(256) for _ in "rgb"))
    canvas = ImageDraw.Draw(picture)
    for _ in range(8):
        left, top = rng.randrange(80), rng.randrange(80)
        box = (left, top, left + rng.randrange(8, 60), top + rng.randrange(8, 60))
        canvas.rectangle(box, fill=tuple(rng.randrange(256) for _ in "rgb"))
    return picture.point([min(255, round(level * 1.1)) for level in range(256)] * 3) if twin else picture
