"""Owns which parts train when: a pure function of the step, so that no flag can be lost or poked."""

from dataclasses import dataclass
from typing import Literal

PartName = Literal["denoiser", "text_encoder_1", "text_encoder_2", "new_tokens_1", "new_tokens_2"]

NEW_TOKENS: frozenset[PartName] = frozenset({"new_tokens_1", "new_tokens_2"})
TEXT_ENCODERS: frozenset[PartName] = frozenset({"text_encoder_1", "text_encoder_2"})


@dataclass(frozen=True)
class Phase:
    """A stretch of steps in which the same parts train."""

    name: str
    trains: frozenset[PartName]

    @property
    def trains_text(self) -> bool:
        """Whether any embedding of a prompt can still change."""
        return bool(self.trains & (NEW_TOKENS | TEXT_ENCODERS))


@dataclass(frozen=True)
class PhaseSchedule:
    """The parts of a run and the steps at which some of them stop."""

    parts: frozenset[PartName]
    total_steps: int
    pivot_step: int
    """First step at which new tokens no longer train; 0 when there are none."""
    text_encoder_stop: int
    """First step at which the text encoders' adapters no longer train; 0 when there are none."""

    def phase_at(self, step: int) -> Phase:
        """The phase of the update after `step` finished ones."""
        trains: frozenset[PartName] = frozenset(part for part in self.parts if step < self._stop_of(part))
        return Phase(_name_of(trains), trains)

    def boundaries(self) -> tuple[int, ...]:
        """The steps at which a phase begins, the first being 0."""
        inner = {self._stop_of(part) for part in self.parts}
        return tuple(sorted({0} | {step for step in inner if 0 < step < self.total_steps}))

    def _stop_of(self, part: PartName) -> int:
        if part in NEW_TOKENS:
            return self.pivot_step
        if part in TEXT_ENCODERS:
            return self.text_encoder_stop
        return self.total_steps


def _name_of(trains: frozenset[PartName]) -> str:
    words = [
        "new tokens" if trains & NEW_TOKENS else "",
        "text encoders" if trains & TEXT_ENCODERS else "",
        "denoiser" if "denoiser" in trains else "",
    ]
    return " + ".join(word for word in words if word) or "nothing"
