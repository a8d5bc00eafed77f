"""Owns the length of one stretch of training and its falling rate; refuses to know what trains."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from torch.optim import Optimizer


@dataclass(frozen=True, slots=True)
class Sitting:
    """How long, and the shares of the recipe's rate it starts and ends with."""

    seconds: float
    first_share: float = 1.0
    last_share: float = 0.05

    def rate_share(self, spent_seconds: float) -> float:
        """A cosine from the first share to the last."""
        progress = min(1.0, spent_seconds / self.seconds)
        return self.last_share + (self.first_share - self.last_share) * 0.5 * (1 + math.cos(math.pi * progress))


def set_rate(optimizers: Mapping[str, Optimizer], rate: float) -> None:
    """Give every optimizer the same learning rate."""
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = rate
