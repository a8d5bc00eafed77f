"""Owns the main use case: from a config to a finished run folder, and from a stopped one onwards."""

import importlib.metadata
import platform
import sys
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import SecretStr

from lorasmith import __version__
from lorasmith.atomic import write_json
from lorasmith.config.data import DataConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.dataset import is_local
from lorasmith.errors import ConfigError, LorasmithError, ResourceError, StoppedError
from lorasmith.event_log import EventLog
from lorasmith.events import Emit, Event, Notice, RunEnded, RunStarted, StepDone, WorkDone, ignore
from lorasmith.models.sdxl import components
from lorasmith.reports.report import write_report
from lorasmith.run_folder import RunFolder
from lorasmith.runs.candidates import settle
from lorasmith.runs.exports import export_run
from lorasmith.runs.pictures import with_left_out_named, with_pinned_dataset
from lorasmith.runs.plan import Survey, survey
from lorasmith.runs.prepare import prepare
from lorasmith.runs.push import leave_outbox, push_finished_run, refuse_hopeless_push
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.stored_config import read_config
from lorasmith.tracking.choice import tracking
from lorasmith.training.checkpoint import CheckpointStore
from lorasmith.training.facts import refuse_changes
from lorasmith.training.loop import Rhythm, fit
from lorasmith.training.precision import tf32

_PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "prodigyopt", "pillow", "numpy")


@dataclass(frozen=True)
class _Run:
    """One run being worked on: what was asked, what was found, where it goes and who listens.

    `hub_token` is a login for this process alone: it is written nowhere.
    """

    config: TrainConfig
    survey: Survey
    folder: RunFolder
    stop: StopSignal
    emit: Emit
    hub_token: SecretStr | None = None


def train(
    config: TrainConfig,
    *,
    origins: Mapping[str, str] | None = None,
    emit: Emit = ignore,
    stop: StopSignal | None = None,
    hub_token: SecretStr | None = None,
) -> Path:
    """Train from the beginning; the run folder. `origins` says where each value of the config came from.

    Raises StoppedError after a checkpoint when asked to stop, HubError when all is done but the upload (`hub.push`);
    see `lorasmith.errors` for every other refusal. `hub_token` is kept nowhere.
    """
    config = with_absolute_paths(config)
    folder = RunFolder(config.output.folder)
    folder.refuse_if_used()
    refuse_hopeless_push(config, emit, hub_token, resumed=False)
    config = with_left_out_named(with_pinned_dataset(config))
    surveyed = survey(config, emit)
    with folder.claim(fresh=True):
        _write_down(folder, config, surveyed, origins or {})
        return _work(_Run(config, surveyed, folder, stop or StopSignal(), emit, hub_token), resumed=False)


def resume(path: Path, *, emit: Emit = ignore, stop: StopSignal | None = None) -> Path:
    """Go on with a stopped run, exactly; the run folder."""
    folder = RunFolder(path.expanduser().resolve())
    folder.refuse_if_not_a_run()
    with folder.claim(fresh=False):
        if folder.state() == "finished":
            raise ConfigError(
                f"the run in {folder.path} is finished", where="--resume",
                remedy="Its exports are in its export folder; start another run in another folder."
                + (f" `lorasmith push {folder.path}` completes its upload." if folder.outbox_file.exists() else ""),
            )  # fmt: skip
        config = read_config(folder)
        refuse_hopeless_push(config, emit, None, resumed=True)
        return _work(_Run(config, survey(config, emit), folder, stop or StopSignal(), emit), resumed=True)


def with_absolute_paths(config: TrainConfig) -> TrainConfig:
    """The same config whatever folder it is read in later."""
    data, output = config.data, config.output
    changed: dict[str, object] = {
        "data": data.model_copy(update=_absolute_data(data)),
        "output": output.model_copy(update={"folder": _absolute(output.folder)}),
    }
    if config.prior is not None:
        changed["prior"] = config.prior.model_copy(update={"class_images": _absolute(config.prior.class_images)})
    changed["model"] = components.with_absolute_paths(config.model)
    return config.model_copy(update=changed)


def _absolute_data(data: DataConfig) -> dict[str, object]:
    changed: dict[str, object] = {
        name: _absolute(getattr(data, name))
        for name in ("instance_images", "download_folder", "cache_folder", "wildcard_folder", "masks")
    }
    if data.dataset is not None and is_local(data):
        changed["dataset"] = str(_absolute(Path(data.dataset)))
    if data.mask_words is not None and Path(data.mask_source).expanduser().is_dir():
        changed["mask_source"] = str(_absolute(Path(data.mask_source)))
    return changed


def _work(run: _Run, *, resumed: bool) -> Path:
    """Train to the end (or to the next stop), export and report; everything said is also written down."""
    candidates = frozenset(run.survey.plan.candidate_steps)
    store = CheckpointStore(run.folder.checkpoints, run.config.checkpoint.keep, candidates)
    damaged = list[str]()
    newest = store.newest(damaged.append)
    first = newest[0].step if newest else 0
    plan, progress = run.survey.plan, _Progress(first)
    log = EventLog(run.folder, resumed_at=first)
    tell = _to_all(log.append, progress.hear, run.emit)
    parts = sorted({part for phase in plan.phases for part in phase.rates})
    emit = _to_all(tell, tracking(run.config, parts, tell), _leaving_when_asked(run))
    emit(RunStarted(first, plan.steps, plan.pivot_step, resumed))
    for text in damaged:
        emit(Notice(text))
    with (
        _reported(run.folder, emit),
        _ending_told(emit, progress),
        run.stop.listening(),
        tf32(allowed=run.config.runtime.allow_tf32),
    ):
        prepared = prepare(run.config, run.survey, run.folder, emit)
        if newest is not None:
            refuse_changes(newest[1], prepared.training.facts)
            prepared.training.restore(newest[0])
        elif candidates:
            prepared.validation.measure_candidate(0, prepared.training.phase)
        looked_at = frozenset(plan.validation_steps) | candidates
        rhythm = Rhythm(frozenset(plan.checkpoint_steps), looked_at, run.stop.is_set)
        fit(prepared.training, store=store, rhythm=rhythm, validation=prepared.validation, emit=emit)
        settled = settle(run.config, plan, prepared, run.folder, emit)
        export_run(run.config, settled, prepared, run.folder, emit)
        leave_outbox(run.config, run.folder)
    if run.config.hub.push:
        push_finished_run(run.folder, _to_all(log.append, run.emit), run.hub_token, stop_asked=run.stop.is_set())
    return run.folder.path


def _write_down(folder: RunFolder, config: TrainConfig, surveyed: Survey, origins: Mapping[str, str]) -> None:
    """What is asked, what was planned and with what it is done, before anything is."""
    write_json(folder.config_file, config.model_dump(mode="json"))
    write_json(folder.plan_file, surveyed.plan.as_json())
    write_json(folder.environment_file, {**environment(), "origins": dict(origins)})


def environment() -> dict[str, object]:
    """Versions and machine, without names of people or places."""
    return {
        "lorasmith": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: importlib.metadata.version(name) for name in _PACKAGES},
    }


@dataclass
class _Progress:
    """How far a run is, as its events say."""

    step: int

    def hear(self, event: Event) -> None:
        if isinstance(event, StepDone):
            self.step = event.step


def _to_all(*listeners: Emit) -> Emit:
    def tell(event: Event) -> None:
        for listener in listeners:
            listener(event)

    return tell


def _leaving_when_asked(run: _Run) -> Emit:
    """Leave between two pictures of the work before the first step; those that are done are kept."""

    def hear(event: Event) -> None:
        if isinstance(event, WorkDone) and run.stop.is_set():
            raise StoppedError(
                f"stopped while {event.task} ({event.done} of {event.total}); what is done is kept",
                where=str(run.folder.path),
                remedy=f"Go on with `lorasmith train --resume {run.folder.path}`.",
            )

    return hear


@contextmanager
def _reported(folder: RunFolder, emit: Emit) -> Generator[None]:
    """Write the report however the block ends: a run that was stopped or failed has one as well."""
    try:
        yield
    finally:
        try:
            write_report(folder)
        except ResourceError as full:  # exports that are whole are not undone by a page about them
            _tell_if_possible(emit, Notice(f"the report could not be written: {full}"))


@contextmanager
def _ending_told(emit: Emit, progress: _Progress) -> Generator[None]:
    """Say how the block ended, whichever way it did."""
    try:
        yield
    except StoppedError as stopped:
        _tell_if_possible(emit, RunEnded(progress.step, "stopped", str(stopped)))
        raise
    except (LorasmithError, KeyboardInterrupt, RuntimeError, OSError) as failure:
        _tell_if_possible(emit, RunEnded(progress.step, "failed", str(failure) or type(failure).__name__))
        raise
    emit(RunEnded(progress.step, "done"))


def _tell_if_possible(emit: Emit, event: Event) -> None:
    """Say how it ended; a disk too full for that must not hide why."""
    with suppress(ResourceError):
        emit(event)


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().resolve()
