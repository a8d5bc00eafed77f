"""Many pictures are encoded with flat memory and a count that moves; stopped, the rest is encoded the next time."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from PIL import Image

MANY = 20_000
MOST_MEMORY = 1.5 * 2**30
MOST_GROWTH_A_PICTURE = 6_000
"""Bytes from one picture to the next: what is known of it in words, and nothing of what it shows."""

SCRIPT = """
import json, sys
from pathlib import Path
from lorasmith.config.train import TrainConfig
from lorasmith.data import cache
from lorasmith.data.cache import LatentSource
from lorasmith.data.pictures import Pictures
from lorasmith.events import WorkDone
from lorasmith.runs.train import train

folder, base, place, count, stop_at = *sys.argv[1:4], int(sys.argv[4]), int(sys.argv[5])
curve, encoded = [], 0
# These pictures and latents are so small that it would take all of them to fill the usual room.
cache._MOST_IN_MEMORY = Pictures.__init__.__kwdefaults__["memory"] = 4 * 2**20

class Enough(Exception):
    pass

def memory():
    lines = Path("/proc/self/status").read_text().splitlines()
    said = dict(line.split(":", 1) for line in lines)
    return [int(said[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM")]

def watch(event):
    if isinstance(event, WorkDone) and event.task == "caching latents":
        if event.done % max(1, event.total // 10) == 0:
            curve.append([event.done, *memory()])
        if event.done == min(stop_at, event.total):
            raise Enough

encode = LatentSource._encoded
def counting(self, draw):
    global encoded
    encoded += 1
    return encode(self, draw)
LatentSource._encoded = counting

config = TrainConfig.model_validate({
    "model": {"base": base},
    "data": {"instance_images": folder, "instance_prompt": "a photo of TOK", "cache_folder": f"{place}/cache",
             "resolution": 64},
    "schedule": {"steps": count // 4, "batch_size": 4},
    "output": {"folder": f"{place}/run-{stop_at}"},
})
try:
    train(config, emit=watch)
except Enough:
    pass
print(json.dumps({"encoded": encoded, "curve": curve}))
"""

Cached = Callable[..., tuple[int, Sequence[tuple[int, int, int]]]]


@pytest.fixture
def cached(tmp_path: Path, tiny_base: Path) -> Cached:
    """Encodes pictures in a process of its own: how many, and pictures done, memory and most memory as it goes."""

    def run(count: int, *, stop_at: int) -> tuple[int, Sequence[tuple[int, int, int]]]:
        folder = tmp_path / "pictures"
        if not folder.is_dir():
            folder.mkdir()
            for number in range(count):
                colour = (number % 256, number // 256 % 256, 99)
                Image.new("RGB", (64, 64), colour).save(folder / f"{number:05d}.png", compress_level=1)
        arguments = [folder, tiny_base, tmp_path, count, stop_at]
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=True
        )
        said = json.loads(done.stdout.strip().splitlines()[-1])
        return said["encoded"], [tuple(row) for row in said["curve"]]

    return run


def curve_of(curve: Sequence[tuple[int, int, int]]) -> str:
    """The curve to read."""
    return "\n".join(
        f"{done:>6} pictures: {now / 2**20:.0f} MiB, at most {most / 2**20:.0f}" for done, now, most in curve
    )


def test_what_was_encoded_before_a_stop_is_not_encoded_again(cached: Cached) -> None:
    first, _ = cached(40, stop_at=15)
    second, _ = cached(40, stop_at=40)
    assert first == 15
    assert first + second == 40


@pytest.mark.slow
def test_twenty_thousand_pictures_are_encoded_in_less_than_a_gibibyte_and_a_half(cached: Cached) -> None:
    encoded, curve = cached(MANY, stop_at=MANY)
    sys.stdout.write(curve_of(curve) + "\n")
    assert encoded == MANY
    assert max(most for _, _, most in curve) < MOST_MEMORY
    steps = [(after[1] - before[1]) / (after[0] - before[0]) for before, after in pairwise(curve)]
    assert sorted(steps)[len(steps) // 2] < MOST_GROWTH_A_PICTURE
