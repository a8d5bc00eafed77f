# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# torch's random functions are only partly typed.
"""Owns all randomness: every draw is a function of (seed, purpose, counters), so nothing is ever consumed or saved.

Resuming needs no replay, and one process or four see the same samples: asking twice gives the same numbers.
"""

import hashlib
import random
from collections.abc import Generator
from contextlib import contextmanager
from typing import Literal

import torch

Purpose = Literal[
    "noise", "timestep", "offset", "posterior", "order", "crop", "flip", "dropout", "adapter", "new_tokens",
    "class_images", "samples", "validation", "held_out", "caption", "bake", "evaluation", "merge",
]  # fmt: skip


def key(seed: int, purpose: Purpose, *counters: int | str) -> int:
    """A 63-bit number that depends on all of (seed, purpose, counters) and on nothing else."""
    text = "\x1f".join([str(seed), purpose, *map(str, counters)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def generator(seed: int, purpose: Purpose, *counters: int | str) -> torch.Generator:
    """A CPU generator for one draw; drawing on the CPU makes the numbers the same on every device."""
    return torch.Generator("cpu").manual_seed(key(seed, purpose, *counters))


def python_random(seed: int, purpose: Purpose, *counters: int | str) -> random.Random:
    """Python's own generator for one draw (orders, crops, flips)."""
    return random.Random(key(seed, purpose, *counters))


@contextmanager
def scoped_seed(seed: int, purpose: Purpose, *counters: int | str) -> Generator[None]:
    """Seed torch's global generators inside the block (for dropout) and put them back after it."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(key(seed, purpose, *counters))
        yield
