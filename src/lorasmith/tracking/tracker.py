"""Owns what a tracker is asked to do: four methods. Knows no tracker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image

from lorasmith.events import EndReason

Hyperparameter = str | int | float | bool


@dataclass(frozen=True)
class RunFacts:
    """What a tracker is told of a run before its first number.

    `first` is the step after which the run goes on; what a tracker has of later steps belongs to a run that crashed.
    """

    name: str
    project: str
    hyperparameters: Mapping[str, Hyperparameter]
    first: int
    resumed: bool


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn with `prompt`."""

    path: Path
    prompt: str

    def image(self) -> Image.Image:
        """The pixels alone: the file also says which base drew it, which may be a path of this machine."""
        with Image.open(self.path) as image:
            return Image.fromarray(np.asarray(image.convert("RGB")))


class Tracker(Protocol):
    """Shows one run. Any method may raise anything: the run goes on without the tracker then."""

    def start(self, facts: RunFacts) -> str | None:
        """Begin, or go on with the run of that name; a sentence for the user, such as where the run can be seen."""
        ...

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Show finite numbers of `step`, by the name of their curve. Steps never go back."""
        ...

    def pictures(self, step: int, pictures: Sequence[Picture]) -> None:
        """Show pictures drawn after `step`."""
        ...

    def finish(self, reason: EndReason) -> None:
        """Show everything that was said so far, and that nothing more comes."""
        ...
