# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# wandb is only partly typed.
"""Owns showing a run in Weights & Biases, or writing it down for later; tells nothing of the machine and its user."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import wandb

from lorasmith.events import EndReason
from lorasmith.tracking.rows import Rows, TrackerMemory
from lorasmith.tracking.tracker import Picture, RunFacts

_START_SECONDS = 30.0
_FINISH_SECONDS = 50.0
_FLUSH_SECONDS = 1.0
"""What a killed run can lose of its curve; wandb would keep 15 s in memory."""

Mode = Literal["online", "offline"]


class WeightsAndBiases:
    """A run of wandb's: online after `wandb login`, offline without; `WANDB_MODE` decides otherwise."""

    def __init__(self, folder: Path, memory: TrackerMemory) -> None:
        self._folder = folder
        self._memory = memory
        self._run: Any = None
        self._rows = Rows(shown=-1, show=lambda step, row: None)

    def start(self, facts: RunFacts) -> str | None:
        """Begin, or go on with the same run under the same id; what failed online is written down offline."""
        run_id, shown = self._memory.recall(resumed=facts.resumed)
        self._memory.remember(run_id, shown)
        self._folder.mkdir(parents=True, exist_ok=True)
        said = None
        try:
            self._run = self._open(facts, run_id, _mode())
        except (wandb.Error, OSError, TimeoutError) as failure:
            self._run = self._open(facts, run_id, "offline")
            said = (
                f"Weights & Biases could not be reached ({type(failure).__name__}), so the run is written down offline"
            )
        self._rows = Rows(shown=shown, show=self._show)
        if self._run.settings.mode == "online":
            return f"Weights & Biases shows the run at {self._run.url}"
        if said is None and os.environ.get("WANDB_MODE"):
            return None
        said = said or "Nobody is logged in to Weights & Biases, so the run is written down offline"
        return f"{said}: `wandb login` and `wandb sync {Path(self._run.dir).parent}` show it"

    def numbers(self, step: int, values: Mapping[str, float]) -> None:
        """Points of curves."""
        self._rows.add(step, values)

    def pictures(self, step: int, pictures: Sequence[Picture]) -> None:
        """Pictures with their prompts below."""
        shown = [wandb.Image(picture.image(), caption=picture.prompt) for picture in pictures]
        self._rows.add(step, {"samples": shown})

    def finish(self, reason: EndReason) -> None:
        """Send what is left."""
        self._rows.close()
        self._run.finish(exit_code=1 if reason == "failed" else 0)

    def _show(self, step: int, row: Mapping[str, Any]) -> None:
        self._run.log(dict(row), step=step, commit=True)
        self._memory.remember(self._run.id, step)

    def _open(self, facts: RunFacts, run_id: str, mode: str) -> Any:
        return wandb.init(
            project=facts.project,
            name=facts.name,
            id=run_id,
            resume="allow",
            config=dict(facts.hyperparameters),
            dir=str(self._folder),
            mode=mode,  # pyright: ignore[reportArgumentType]  # whatever WANDB_MODE says, wandb checks
            reinit="create_new",
            settings=_settings(),
        )


def _mode() -> str:
    said = os.environ.get("WANDB_MODE")
    if said:
        return said
    # Never asks: the terminal belongs to the run.
    return "online" if wandb.login(prompt=False) else "offline"


def _settings() -> wandb.Settings:
    """Quiet, patient only so long, and without what wandb gathers of machine, user, program and its output."""
    return wandb.Settings(
        silent=True,
        console="off",
        host="",
        save_code=False,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_machine_info=True,
        x_disable_stats=True,
        x_save_requirements=False,
        init_timeout=_START_SECONDS,
        finish_timeout=_FINISH_SECONDS,
        x_transaction_log_flush_interval=_FLUSH_SECONDS,
    )
