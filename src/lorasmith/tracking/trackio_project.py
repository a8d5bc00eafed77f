# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingImports=false
# pyright: reportMissingTypeStubs=false, reportUnknownArgumentType=false
# trackio is not installed with the development tools: it wants an older Pillow.
"""Owns showing a run in trackio, whose tables lie on this machine; starts no dashboard and no server."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import trackio

from lorasmith.events import EndReason
from lorasmith.tracking.rows import Rows, TrackerMemory
from lorasmith.tracking.tracker import Picture, RunFacts


class TrackioProject:
    """A run in a project of trackio's; `TRACKIO_DIR` was set before trackio was imported."""

    def __init__(self, memory: TrackerMemory) -> None:
        self._memory = memory
        self._run: Any = None
        self._id = ""
        self._rows = Rows(shown=-1, show=lambda step, row: None)

    def start(self, facts: RunFacts) -> None:
        """Begin, or go on with the same run, which trackio knows by its name alone."""
        _talk_on_stderr()
        self._id, shown = self._memory.recall(resumed=facts.resumed)
        self._memory.remember(self._id, shown)
        self._run = trackio.init(
            project=facts.project,
            name=f"{facts.name}-{self._id}",
            config=dict(facts.hyperparameters),
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )
        self._rows = Rows(shown=shown, show=self._show)

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves."""
        self._rows.add(step, values)

    def pictures(self, step: int, pictures: Sequence[Picture]) -> None:
        """Pictures with their prompts below, one column for each place in the list of prompts."""
        shown = {
            f"samples/{place:02d}": trackio.Image(picture.image(), caption=picture.prompt)
            for place, picture in enumerate(pictures)
        }
        self._rows.add(step, shown)

    def finish(self, reason: EndReason) -> None:
        """Write what is left; trackio knows no reason."""
        del reason
        self._rows.close()
        self._run.finish()

    def _show(self, step: int, row: Mapping[str, Any]) -> None:
        self._run.log(dict(row), step=step)
        self._memory.remember(self._id, step)


def _talk_on_stderr() -> None:
    """Have trackio talk where talk goes: stdout is for data, and trackio has no switch for what it prints there."""

    def to_stderr(*words: object, **_: object) -> None:
        sys.stderr.write(" ".join(map(str, words)) + "\n")

    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "trackio":
            vars(module)["print"] = to_stderr
