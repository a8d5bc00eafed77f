"""Owns a run's checkpoints as candidates: what was measured of each, and putting a run where one stood; scores none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from lorasmith.config.train import TrainConfig
from lorasmith.errors import DataError
from lorasmith.events import CheckpointChosen, Emit
from lorasmith.run_folder import RunFolder, read_records
from lorasmith.runs.prepare import PreparedRun
from lorasmith.training.assemble import vocabulary_of
from lorasmith.training.checkpoint import damage_of, read_checkpoint
from lorasmith.training.facts import refuse_changes
from lorasmith.training.plan import RunPlan
from lorasmith.training.prompts import PromptBook
from lorasmith.training.selection import Candidate, Measured, choose


def settle(config: TrainConfig, plan: RunPlan, prepared: PreparedRun, folder: RunFolder, emit: Emit) -> RunPlan:
    """Put a run that is at its end where its best candidate stood; the plan as if it had ended there.

    A run that chooses nothing stays where it is.
    """
    if not plan.candidate_steps:
        return plan
    choice = choose(measured_in(folder, plan, plan.candidate_steps))
    stand_at(config, prepared, folder, choice.step)
    emit(CheckpointChosen(choice.step, choice.reason))
    return ended_at(plan, choice.step)


def ended_at(plan: RunPlan, step: int) -> RunPlan:
    """The plan of a run that had ended after `step`."""
    pivot = None if plan.pivot_step is None else min(plan.pivot_step, step)
    return replace(plan, steps=step, pivot_step=pivot)


def measured_in(folder: RunFolder, plan: RunPlan, steps: tuple[int, ...]) -> Measured:
    """What the run's events say of the checkpoints after `steps`; what was not measured is None."""
    found = {one.step: one for one in recorded_candidates(folder)}
    start = found.get(0)
    return Measured(
        tuple(found.get(step, Candidate(step)) for step in steps),
        plan.instance_images,
        None if start is None else start.held_out_loss,
    )


def recorded_candidates(folder: RunFolder) -> list[Candidate]:
    """Everything that was measured of checkpoints, and of step 0; of a step that was measured twice, the last."""
    records = [record for record in read_records(folder.events_file) if record["event"] == "CandidateMeasured"]
    by_step = {
        int(record["step"]): Candidate(int(record["step"]), record["held_out_loss"], record["drift"])
        for record in records
    }
    return [by_step[step] for step in sorted(by_step)]


def whole_checkpoints(folder: RunFolder) -> tuple[int, ...]:
    """The steps that have a checkpoint whose files are as they were written. DataError when none has."""
    steps = tuple(step for step in folder.checkpoint_steps() if damage_of(folder.checkpoint_folder(step)) is None)
    if not steps:
        raise DataError(
            f"the run in {folder.path} has no whole checkpoint to choose from",
            remedy="Checkpoints are kept by checkpoint.every with checkpoint.keep, or by schedule.steps = auto.",
        )
    return steps


def stand_at(config: TrainConfig, prepared: PreparedRun, folder: RunFolder, step: int) -> None:
    """Put a prepared run where its checkpoint after `step` stood, ready to be measured, drawn with or exported.

    DataError when the checkpoint is damaged, or when the run's base or pictures are not what they were.
    """
    training, place = prepared.training, folder.checkpoint_folder(step)
    _refuse_damaged(place, step)
    state, facts = read_checkpoint(place)
    refuse_changes(facts, training.facts)
    training.restore(state)
    training.finish()
    # What was kept of prompts is another checkpoint's.
    training.prompts = PromptBook(training.family, vocabulary_of(config))


def _refuse_damaged(place: Path, step: int) -> None:
    damage = damage_of(place) if place.is_dir() else "it is not there"
    if damage:
        raise DataError(f"the checkpoint after step {step} cannot be used: {damage}", where=str(place))
