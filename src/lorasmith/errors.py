"""Owns every refusal lorasmith makes and the exit code each one ends with; knows nothing of what caused them.

::

    LorasmithError            1  our bug, or unexpected
    ├── ConfigError           2  an option, a file of options, or their combination
    ├── DataError             3  pictures, captions, weights or other files that cannot be used
    ├── ResourceError         4  memory or disk
    ├── DivergedError         5  loss or weights no longer finite, or nothing trained
    ├── HubError              6  hub or network
    ├── BusyError             7  another run owns the folder
    └── StoppedError         75  stopped by a signal, resumable
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: `what` with its value, `where` it was said, and the `remedy`."""

    what: str
    where: str | None = None
    remedy: str | None = None

    def __str__(self) -> str:
        """One sentence after the other: what, where, what to do."""
        said = f" ({self.where})" if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{self.what.rstrip('.')}{said}.{remedy}"


class LorasmithError(Exception):
    """A refusal that carries what is wrong, where it was said and what to do."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.problems: tuple[Problem, ...] = (Problem(what, where, remedy),)
        super().__init__(str(self.problems[0]))

    @classmethod
    def of(cls, problems: Sequence[Problem]) -> "LorasmithError":
        """One error that reports all `problems` (at least one) at once."""
        first, *_ = problems
        error = cls(first.what, where=first.where, remedy=first.remedy)
        error.problems = tuple(problems)
        error.args = ("\n".join(str(problem) for problem in problems),)
        return error


class ConfigError(LorasmithError):
    """An option, a file of options, or a combination of them is wrong."""

    exit_code = 2


class DataError(LorasmithError):
    """Pictures, captions, weights or other files cannot be used as they are."""

    exit_code = 3


class ResourceError(LorasmithError):
    """Not enough memory or disk."""

    exit_code = 4


class DivergedError(LorasmithError):
    """Loss or weights are no longer finite, or an adapter is not moving."""

    exit_code = 5


class HubError(LorasmithError):
    """The hub or the network failed."""

    exit_code = 6


class BusyError(LorasmithError):
    """Another run owns the folder."""

    exit_code = 7


class StoppedError(LorasmithError):
    """Stopped by a signal after a checkpoint was written; `--resume` goes on."""

    exit_code = 75
