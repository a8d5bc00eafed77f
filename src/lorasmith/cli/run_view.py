"""Owns what is worth showing of a run at a moment, gathered from its events; draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lorasmith.events import Event, PhaseChanged, RunStarted, StepDone

# Half of a smoothed value's weight lies on the last seven steps or so.
_KEPT = 0.9


@dataclass
class Smoothed:
    """A running mean that forgets slowly and is right from its first value on."""

    _sum: float = 0.0
    _weight: float = 0.0

    def add(self, value: float) -> None:
        """Take one more value."""
        self._sum = _KEPT * self._sum + (1 - _KEPT) * value
        self._weight = _KEPT * self._weight + (1 - _KEPT)

    @property
    def value(self) -> float | None:
        """The mean; None before the first value."""
        return self._sum / self._weight if self._weight else None


@dataclass
class RunView:
    """A run as its events tell it so far."""

    step: int = 0
    total_steps: int = 0
    pivot_step: int | None = None
    phase: str = ""
    rates: Mapping[str, float] = field(default_factory=dict[str, float])
    loss: Smoothed = field(default_factory=Smoothed)
    seconds_per_step: Smoothed = field(default_factory=Smoothed)

    def take(self, event: Event) -> None:
        """Learn from one event."""
        match event:
            case RunStarted():
                self.step, self.total_steps, self.pivot_step = event.step, event.total_steps, event.pivot_step
            case PhaseChanged():
                self.phase = event.phase
            case StepDone():
                self.step, self.rates = event.step, event.rates
                self.loss.add(event.loss)
                self.seconds_per_step.add(event.seconds)
            case _:
                pass

    @property
    def seconds_left(self) -> float | None:
        """Seconds to the last step at the present speed."""
        seconds = self.seconds_per_step.value
        return None if seconds is None else (self.total_steps - self.step) * seconds

    def speed_text(self) -> str:
        """Speed and time left, such as `2.3 steps/s, 3:12 left`."""
        seconds, left = self.seconds_per_step.value, self.seconds_left
        if not seconds or left is None:
            return ""
        speed = f"{_short(1 / seconds)} steps/s" if seconds < 1 else f"{_short(seconds)} s/step"
        return f"{speed}, {clock_text(left)} left"

    def status_text(self) -> str:
        """Phase, smoothed loss and the rate of each part."""
        loss = self.loss.value
        rates = ", ".join(f"{part} {rate:.3g}" for part, rate in self.rates.items())
        parts = [self.phase and f"training {self.phase}", "" if loss is None else f"loss {loss:.4f}"]
        return " · ".join(part for part in (*parts, rates and f"rates: {rates}") if part)


def clock_text(seconds: float) -> str:
    """Seconds as `3:12` or `1:03:12`."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


def _short(number: float) -> str:
    return f"{number:.1f}" if number < 10 else f"{number:.0f}"
