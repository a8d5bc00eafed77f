# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false, reportAttributeAccessIssue=false
# torch.utils.tensorboard is not typed.
"""Owns showing a run in TensorBoard, through torch's writer: scalars, pictures, hyper-parameters."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from torch.utils.tensorboard import SummaryWriter
from torch.utils.tensorboard.summary import hparams

from lorasmith.events import EndReason
from lorasmith.tracking.tracker import Picture, RunFacts

_SECONDS_UNTIL_FLUSHED = 5
_LONGEST_TAG = 120


class TensorBoardFiles:
    """Event files in `folder`, one more for each time the run goes on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: SummaryWriter | None = None

    def start(self, facts: RunFacts) -> None:
        """Open a file. `purge_step` has readers drop what a crashed run wrote of the steps that come again."""
        purge = facts.first + 1 if facts.resumed else None
        folder = str(self._folder / _as_folder_name(facts.name))
        writer = SummaryWriter(folder, purge_step=purge, flush_secs=_SECONDS_UNTIL_FLUSHED)
        options, session, _ = hparams(dict(facts.hyperparameters), {})
        if writer.file_writer is not None:  # `add_hparams` would write to a folder of its own
            writer.file_writer.add_summary(options)
            writer.file_writer.add_summary(session)
        table = [f"| `{name}` | {_as_cell(value)} |" for name, value in facts.hyperparameters.items()]
        writer.add_text("config", "\n".join(["| option | value |", "|---|---|", *table]), facts.first)
        self._writer = writer

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """One scalar a curve."""
        for name, value in values.items():
            self._open.add_scalar(name, value, step)

    def pictures(self, step: int, pictures: Sequence[Picture]) -> None:
        """One image a picture; its tag is its place and its prompt, so that the slider goes through the steps."""
        for place, picture in enumerate(pictures):
            pixels = np.asarray(picture.image())
            self._open.add_image(_tag(place, picture.prompt), pixels, step, dataformats="HWC")

    def finish(self, reason: EndReason) -> None:
        """Write the last events and close the file; event files know no reason."""
        del reason
        self._open.close()

    @property
    def _open(self) -> SummaryWriter:
        if self._writer is None:
            raise RuntimeError("TensorBoard was not started")
        return self._writer


def _tag(place: int, prompt: str) -> str:
    # A slash would make a group of what is before it.
    words = " ".join(prompt.split()).replace("/", "∕")
    return f"samples/{place:02d} {words}"[:_LONGEST_TAG].rstrip()


def _as_cell(value: object) -> str:
    return " ".join(str(value).split()).replace("|", "\\|").replace("<", "&lt;")


def _as_folder_name(name: str) -> str:
    return name.replace("/", "_").replace("\\", "_").lstrip(".") or "run"
