# pyright: reportUnknownMemberType=false, reportAttributeAccessIssue=false
# transformers' encoders are only partly typed.
"""Owns doing one trial: its pictures, its training on a copy of an open base, its exports; refuses to judge them."""

from __future__ import annotations

import copy
import hashlib
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from filelock import FileLock
from transformers import CLIPTextModel

from lorasmith.config.base import ModelConfig
from lorasmith.config.train import TrainConfig
from lorasmith.errors import DivergedError
from lorasmith.events import CandidateMeasured, ignore
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.run_folder import RunFolder
from lorasmith.runs.exports import export_training
from lorasmith.runs.plan import Survey, survey
from lorasmith.runs.prepare import PreparedRun, prepare
from lorasmith.runs.trials import CheckpointScores, Scores, Trial, TrialRecord
from lorasmith.training.checkpoint import CheckpointStore
from lorasmith.training.loop import Rhythm, fit
from lorasmith.training.phases import Phase
from lorasmith.training.precision import resolve_device, resolve_precision
from lorasmith.world import (
    OBJECTS,
    Concept,
    DrawingStyle,
    Identity,
    PlainObject,
    find_object,
    training_set,
    write_training_set,
)
from lorasmith.world import STYLES as KNOWN_STYLES

HIGHEST_ID: Final = 2
"""What SDXL's text-encoder configs say of the end of text, for which transformers pools at the highest id."""
_CLASS_SETS_FROM: Final = 1_000_000
"""Seeds of true class images, apart from those of instance images."""


class Examiner(Protocol):
    """Scores exports of one base."""

    def base(self, config: ModelConfig) -> str:
        """A hash of the base's weights."""
        ...

    @property
    def protocol(self) -> str:
        """What the scores depend on besides base and export; another protocol's scores are other numbers."""
        ...

    def examine(self, export: Path | None, trial: Trial, instance_images: Path) -> Scores:
        """Score an export folder; None for the base as it is."""
        ...


@dataclass
class Bench:
    """Does trials one after another; each base is opened once, and every trial trains on a copy of it."""

    folder: Path
    examiner: Examiner
    stop: Callable[[], bool] = lambda: False
    _open: dict[str, SdxlComponents] = field(default_factory=dict[str, SdxlComponents], init=False)

    def key(self, trial: Trial) -> str:
        """What the trial is known by."""
        return trial.key(base=self.examiner.base(trial.config.model), protocol=self.examiner.protocol)

    def do(self, trial: Trial) -> TrialRecord:
        """Train and examine; a training that comes to nothing is a record too. StoppedError leaves nothing behind."""
        key, images = self.key(trial), self._instance_images(trial)
        if not trial.set_up.trained:
            started = time.monotonic()
            scores = self.examiner.examine(None, trial, images)
            return TrialRecord(
                key, trial.concept.name, trial.seed, scores=scores, seconds_examining=time.monotonic() - started
            )
        with tempfile.TemporaryDirectory(prefix="trial-", dir=_made(self.folder / ".work")) as work:
            try:
                return self._trained(trial, key, images, Path(work))
            except DivergedError as diverged:
                return TrialRecord(key, trial.concept.name, trial.seed, failed=diverged.problems[0].what)

    def _trained(self, trial: Trial, key: str, images: Path, work: Path) -> TrialRecord:
        started = time.monotonic()
        config = self.placed(trial, images, work)
        surveyed, components = survey(config), self.components(config)
        with self.class_images_alone(trial):
            prepared = prepare(config, surveyed, RunFolder(work), ignore, components=components)
        training = _Training(self, trial, images, config, surveyed, prepared)
        with _pooling(components, trial):
            scores = training.run()
        start = training.measured.get(0)
        return TrialRecord(
            key=key,
            concept=trial.concept.name,
            seed=trial.seed,
            pictures=surveyed.plan.instance_images,
            steps=surveyed.plan.steps,
            scores=scores,
            checkpoints=tuple(training.checkpoints),
            start_loss=start.held_out_loss if start else None,
            seconds_training=time.monotonic() - started - training.seconds_examining,
            seconds_examining=training.seconds_examining,
        )

    def components(self, config: TrainConfig) -> SdxlComponents:
        """A copy of the base, to be trained on."""
        device = resolve_device(config.runtime.device)
        precision = resolve_precision(config.runtime.precision, device)
        name = f"{config.model.model_dump_json()} {precision.name}"
        if name not in self._open:
            self._open[name] = open_components(config.model, dtype=precision.dtype)
        return copy.deepcopy(self._open[name])

    def _instance_images(self, trial: Trial) -> Path:
        """The trial's pictures and captions, written once for all trials that share them."""
        set_up = trial.set_up
        name = f"{trial.concept.name}-{set_up.pictures}-{trial.seed}-{set_up.regime}-{set_up.wording}"
        examples = training_set(
            trial.concept, count=set_up.pictures, seed=trial.seed, regime=set_up.regime, wording=set_up.wording
        )
        return self._written_once(
            "pictures", name.replace(" ", "-"), lambda folder: write_training_set(examples, folder)
        )

    def class_images(self, trial: Trial) -> Path | None:
        """The folder of class images: true ones are written here, drawn ones by the first training that needs them."""
        prior = trial.config.prior
        match trial.set_up.class_images:
            case "none":
                return None
            case "drawn":
                said = f"{prior.class_prompt if prior else ''} {trial.config.runtime.seed}"
                return _made(self.folder / "class" / f"drawn-{hashlib.sha256(said.encode()).hexdigest()[:12]}")
            case "true":
                count = prior.num_class_images if prior else 1
                name = f"true-{trial.concept.name}-{count}-{trial.seed}".replace(" ", "-")
                return self._written_once(
                    "class", name, lambda folder: write_class_images(trial.concept, folder, count, seed=trial.seed)
                )

    def _written_once(self, kind: str, name: str, write: Callable[[Path], object]) -> Path:
        folder = self.folder / kind / name
        if not folder.exists():
            beside = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=_made(folder.parent)))
            write(beside)
            try:
                beside.rename(folder)
            except OSError:  # another process was first; what it wrote is the same
                shutil.rmtree(beside)
        return folder

    def placed(self, trial: Trial, images: Path, work: Path) -> TrainConfig:
        """The trial's config with its folders."""
        config = trial.config
        data = {"instance_images": images, "cache_folder": self.folder / "latents"}
        changed: dict[str, object] = {
            "data": config.data.model_copy(update=data),
            "output": config.output.model_copy(update={"folder": work, "name": "trial"}),
        }
        class_images = self.class_images(trial)
        if config.prior is not None and class_images is not None:
            changed["prior"] = config.prior.model_copy(update={"class_images": class_images})
        return config.model_copy(update=changed)

    @contextmanager
    def class_images_alone(self, trial: Trial) -> Generator[None]:
        """Nobody else draws the same class images inside the block."""
        drawn = trial.set_up.class_images == "drawn"
        with FileLock(_made(self.folder / ".locks") / "class-images") if drawn else nullcontext():
            yield


@dataclass
class _Training:
    """One trial's training, which is also its validation: it exports and examines its checkpoints as they come."""

    bench: Bench
    trial: Trial
    images: Path
    config: TrainConfig
    surveyed: Survey
    prepared: PreparedRun
    measured: dict[int, CandidateMeasured] = field(default_factory=dict[int, CandidateMeasured])
    checkpoints: list[CheckpointScores] = field(default_factory=list[CheckpointScores])
    seconds_examining: float = 0.0

    def run(self) -> Scores:
        """Train to the end; the scores of what comes out."""
        training, steps = self.prepared.training, self.surveyed.plan.steps
        wanted = self.trial.set_up.checkpoints
        if wanted:
            self.measure(0, training.phase)
        rhythm = Rhythm(frozenset(), frozenset(step for step in wanted if step < steps), self.bench.stop)
        fit(training, store=_NoStore(self.config.output.folder, 1), rhythm=rhythm, validation=self, emit=ignore)
        if wanted:
            self.measure(steps, training.phases.phase_at(steps - 1))
        scores = self.examine(steps)
        if wanted:
            self._keep(steps, scores)
        return scores

    def validate(self, step: int, phase: Phase) -> None:
        """Measure and examine the checkpoint after `step` updates."""
        self.measure(step, phase)
        self._keep(step, self.examine(step))

    def measure(self, step: int, phase: Phase) -> None:
        """Held-out loss and drift."""
        self.measured[step] = self.prepared.validation.measure_candidate(step, phase)

    def examine(self, step: int) -> Scores:
        """Export what there is and hand it to the examiner; its seconds are counted apart."""
        started = time.monotonic()
        folder = self.config.output.folder / f"export-{step:06d}"
        export_training(self.config, self.surveyed.plan, self.prepared.training, folder)
        scores = self.bench.examiner.examine(folder, self.trial, self.images)
        self.seconds_examining += time.monotonic() - started
        return scores

    def _keep(self, step: int, scores: Scores) -> None:
        found = self.measured[step]
        self.checkpoints.append(CheckpointScores(step, scores, found.held_out_loss, found.drift))


class _NoStore(CheckpointStore):
    """A trial that is stopped is done again: nothing is kept of it."""

    def write(self, state: object, facts: Mapping[str, str]) -> Path:
        """Nothing."""
        del state, facts
        return self.folder


@contextmanager
def _pooling(components: SdxlComponents, trial: Trial) -> Generator[None]:
    """Prompts pooled at the highest id inside the block, as in diffusers' script, if the trial asks for it.

    This is what a training is compared with, and no option: what is exported is always drawn with the end of text.
    """
    if trial.set_up.pooling == "end_of_text":
        yield
        return
    encoders = (components.text_encoder_1, components.text_encoder_2)
    modules = [module for encoder in encoders for module in encoder.modules() if isinstance(module, CLIPTextModel)]
    before = [module.eos_token_id for module in modules]
    for module in modules:
        module.eos_token_id = HIGHEST_ID
    try:
        yield
    finally:
        for module, end_id in zip(modules, before, strict=True):
            module.eos_token_id = end_id


def write_class_images(concept: Concept, folder: Path, count: int, *, seed: int) -> None:
    """True pictures of the concept's class that are not the concept: known objects of its category, known styles."""
    others = _class_of(concept)
    for place, other in enumerate(others):
        share = count // len(others) + (place < count % len(others))
        if share:
            examples = training_set(other, count=share, seed=_CLASS_SETS_FROM + seed)
            written = write_training_set(examples, folder / str(place))
            for path in written:
                path.rename(folder / f"{place:02}-{path.name}")
            shutil.rmtree(folder / str(place))


def _class_of(concept: Concept) -> list[Concept]:
    match concept.subject:
        case PlainObject(thing=thing):
            category = find_object(thing).category
            return [Concept(PlainObject(one.name)) for one in OBJECTS if one.category == category]
        case Identity(thing=thing):
            return [Concept(PlainObject(thing))]
        case DrawingStyle():
            return [Concept(DrawingStyle(style)) for style in KNOWN_STYLES]


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
