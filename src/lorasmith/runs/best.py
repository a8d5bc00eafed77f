"""Owns `lorasmith best`: chooses among a run's checkpoints and exports the one it takes, without training any."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lorasmith.atomic import naming_write_failures
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.event_log import EventLog
from lorasmith.events import CheckpointChosen, Emit, ExportWritten, WorkDone, ignore
from lorasmith.run_folder import RunFolder
from lorasmith.runs.candidates import ended_at, recorded_candidates, stand_at, whole_checkpoints
from lorasmith.runs.exports import card_pictures, export_training
from lorasmith.runs.plan import Survey, survey
from lorasmith.runs.prepare import PreparedRun, prepare
from lorasmith.runs.stored_config import read_config
from lorasmith.training.phases import Phase
from lorasmith.training.plan import RunPlan
from lorasmith.training.selection import RULES, Candidate, Choice, Measured, choose

Scorer = Callable[[Path], float]
"""What an evaluator gives an export folder: the higher the better."""


@dataclass(frozen=True)
class Best:
    """Which checkpoint was taken and why, what was measured, and the export it became (None: nothing was written)."""

    run: Path
    choice: Choice
    measured: Measured
    export: Path | None

    def as_json(self) -> dict[str, Any]:
        """As plain data, with what the simple rules would have taken."""
        return {
            "run": str(self.run),
            "step": self.choice.step,
            "reason": self.choice.reason,
            "export": None if self.export is None else str(self.export),
            "start_loss": self.measured.start_loss,
            "candidates": [
                {"step": one.step, "held_out_loss": one.held_out_loss, "drift": one.drift, "score": one.score}
                for one in self.measured.candidates
            ],
            "rules": {rule: choose(self.measured, rule).step for rule in RULES},
        }


@dataclass
class _Run:
    """A run being looked at; its base is opened once, and only if anything needs it."""

    folder: RunFolder
    config: TrainConfig
    surveyed: Survey
    emit: Emit
    _prepared: PreparedRun | None = field(default=None, init=False)

    @property
    def plan(self) -> RunPlan:
        """What the run was to do."""
        return self.surveyed.plan

    @property
    def prepared(self) -> PreparedRun:
        """The run before its first step, opened at the first call."""
        if self._prepared is None:
            self._prepared = prepare(self.config, self.surveyed, self.folder, self.emit)
        return self._prepared

    def stand_at(self, step: int) -> PreparedRun:
        """The run as it was after `step`."""
        stand_at(self.config, self.prepared, self.folder, step)
        return self.prepared

    def phase_after(self, step: int) -> Phase:
        """The phase that `step` ended in."""
        return self.prepared.training.phases.phase_at(max(0, min(step, self.plan.steps) - 1))


def best(
    path: Path,
    *,
    step: int | None = None,
    scorer: Scorer | None = None,
    dry_run: bool = False,
    emit: Emit = ignore,
) -> Best:
    """Choose among a run's checkpoints, by `scorer` where there is one, and export it in place of the run's export.

    `step` names the checkpoint instead. BusyError while the run goes on, ConfigError when there is no run or no such
    checkpoint, DataError when none is whole.
    """
    folder = RunFolder(path.expanduser().resolve())
    folder.refuse_if_not_a_run()
    with folder.claim(fresh=False):
        config = read_config(folder)
        run = _Run(folder, config, survey(config, emit), emit)
        steps = whole_checkpoints(folder)
        measured = _measured(run, steps)
        if scorer is not None:
            measured = replace(measured, candidates=_scored(run, measured, scorer))
        choice = choose(measured) if step is None else _asked_for(step, steps)
        export = None if dry_run else _export(run, choice)
    return Best(folder.path, choice, measured, export)


def _asked_for(step: int, steps: tuple[int, ...]) -> Choice:
    if step not in steps:
        there = ", ".join(map(str, steps))
        raise ConfigError(
            f"there is no whole checkpoint after step {step}", where="--step", remedy=f"There are {there}."
        )
    return Choice(step, "asked for")


def _measured(run: _Run, steps: tuple[int, ...]) -> Measured:
    """What was measured while it trained; what was not is measured now."""
    known = {one.step: one for one in recorded_candidates(run.folder)}
    if 0 not in known and any(step not in known for step in steps):
        known[0] = _measure(run, 0)
    for done, step in enumerate(steps, start=1):
        if step not in known:
            run.stand_at(step)
            known[step] = _measure(run, step)
            run.emit(WorkDone("measuring checkpoints", done, len(steps)))
    start = known.get(0)
    candidates = tuple(known[step] for step in steps)
    return Measured(candidates, run.plan.instance_images, None if start is None else start.held_out_loss)


def _measure(run: _Run, step: int) -> Candidate:
    found = run.prepared.validation.measure_candidate(step, run.phase_after(step))
    return Candidate(step, found.held_out_loss, found.drift)


def _scored(run: _Run, measured: Measured, scorer: Scorer) -> tuple[Candidate, ...]:
    """Every candidate exported beside the run and scored."""
    scored = list[Candidate]()
    with tempfile.TemporaryDirectory(prefix="lorasmith-best-") as work:
        for candidate in measured.candidates:
            prepared = run.stand_at(candidate.step)
            export = Path(work) / f"step-{candidate.step:06d}"
            export_training(run.config, ended_at(run.plan, candidate.step), prepared.training, export)
            scored.append(replace(candidate, score=scorer(export)))
            run.emit(WorkDone("scoring checkpoints", len(scored), len(measured.candidates)))
    return tuple(scored)


def _export(run: _Run, choice: Choice) -> Path:
    """Write the checkpoint's export beside the run's and put it in its place; say so in the run's events."""
    plan, folder = ended_at(run.plan, choice.step), run.folder
    prepared = run.stand_at(choice.step)
    pictures = card_pictures(run.config, plan, prepared, folder)
    beside = folder.path / f".{folder.export.name}.partial"
    shutil.rmtree(beside, ignore_errors=True)
    files = export_training(run.config, plan, prepared.training, beside, pictures=pictures, emit=run.emit)
    with naming_write_failures(folder.export):
        shutil.rmtree(folder.export, ignore_errors=True)
        beside.rename(folder.export)
    log = EventLog(folder, resumed_at=max(folder.last_step(), 1))
    for event in (
        CheckpointChosen(choice.step, choice.reason),
        *(ExportWritten(folder.export / file.path.name, file.readers) for file in files),
    ):
        log.append(event)
        run.emit(event)
    return folder.export
