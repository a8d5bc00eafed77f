"""Owns how a rate changes over a run: a pure function of the step, so there is nothing to save or to put back."""

import math
from dataclasses import dataclass
from typing import assert_never

from lorasmith.config.schedule import LrSchedule


@dataclass(frozen=True)
class RateSchedule:
    """The multiplier of every rate at each step; the same curves as diffusers' `get_scheduler`."""

    kind: LrSchedule
    total_steps: int
    warmup_steps: int = 0
    cycles: int = 1
    power: float = 1.0

    def multiplier_at(self, step: int) -> float:
        """What a rate is multiplied by for the update after `step` finished ones."""
        if self.kind == "constant":
            return 1.0
        if step < self.warmup_steps:
            return step / max(1, self.warmup_steps)
        match self.kind:
            case "constant_with_warmup":
                return 1.0
            case "linear":
                return 1.0 - self._progress(step)
            case "cosine":
                return 0.5 * (1.0 + math.cos(math.pi * self._progress(step)))
            case "cosine_with_restarts":
                return self._restarting_cosine(self._progress(step))
            case "polynomial":
                return self._polynomial(self._progress(step))
            case other:
                assert_never(other)

    def _progress(self, step: int) -> float:
        """Share of the steps after the warm-up that is done, 0…1."""
        return min(1.0, (step - self.warmup_steps) / max(1, self.total_steps - self.warmup_steps))

    def _restarting_cosine(self, progress: float) -> float:
        return 0.0 if progress >= 1 else 0.5 * (1.0 + math.cos(math.pi * ((self.cycles * progress) % 1.0)))

    def _polynomial(self, progress: float) -> float:
        return (1.0 - progress) ** self.power
