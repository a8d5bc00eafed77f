"""Owns the build from art to shipped weights as a list of stages, each done once; refuses to hold a stage's logic."""
# pyright: basic

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ..world.art_sources import ArtFolders
from .autoencoder import train_decoder
from .export import export_pipeline
from .fitting import fit_denoiser
from .oracle_export import ship_oracle, ship_tiny_clip
from .oracle_fitting import fit_oracle
from .oracle_pictures import compose_for_oracle
from .preparing import prepare
from .recipe import Recipe, Workshop
from .sitting import Sitting
from .tiny_clip_fitting import fit_tiny_clip

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Build:
    """Where a build works, what it reads (the package's sprites without `art`), and how long its sittings are."""

    workshop: Workshop
    art: ArtFolders | None = None
    device: str = "cpu"
    share_of_time: float = 1.0
    recipe: Recipe = field(default_factory=Recipe)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the build: its name, the seconds it trains (0 for what is done when it is done), and the work."""

    name: str
    seconds: float
    run: Callable[[], object]


def stages(build: Build) -> tuple[Stage, ...]:
    """Every stage in order; the sittings are those that the shipped weights took on one CPU core."""
    return tuple(_stages(build))


def stages_done(workshop: Workshop) -> tuple[str, ...]:
    """The names of the stages that are done."""
    return tuple(json.loads(_record(workshop).read_text(encoding="utf-8"))) if _record(workshop).exists() else ()


def run_stages(build: Build, *, on_stage: Callable[[Stage], None] = lambda _: None) -> int:
    """Run every stage that is not done; a sitting that was broken off begins again from its last weights; how many."""
    build.workshop.folder.mkdir(parents=True, exist_ok=True)
    waiting = [stage for stage in stages(build) if stage.name not in stages_done(build.workshop)]
    for stage in waiting:
        on_stage(stage)
        stage.run()
        names = [*stages_done(build.workshop), stage.name]
        beside = _record(build.workshop).with_suffix(".part")
        beside.write_text(json.dumps(names), encoding="utf-8")
        beside.replace(_record(build.workshop))
    return len(waiting)


def _stages(build: Build) -> Iterator[Stage]:
    recipe, workshop = build.recipe, build.workshop
    yield Stage("prepare", 0, lambda: prepare(recipe, workshop, build.art))

    def sitting(name: str, work: Callable[[Sitting], object], minutes: float, shares: tuple[float, float]) -> Stage:
        seconds = minutes * 60 * build.share_of_time
        return Stage(name, seconds, lambda: work(Sitting(seconds, *shares)))

    def decoder(planned: Sitting) -> None:
        train_decoder(recipe, workshop, planned, device=build.device)

    def denoiser(planned: Sitting) -> None:
        fit_denoiser(recipe, workshop, planned, device=build.device)

    def oracle(planned: Sitting) -> None:
        fit_oracle(recipe, workshop, planned, device=build.device)

    def tiny_clip(planned: Sitting) -> None:
        fit_tiny_clip(recipe, workshop, planned, device=build.device)

    yield sitting("vae, first sitting", decoder, 6, (1.0, 0.2))
    yield sitting("denoiser, first sitting", denoiser, 45, (1.0, 0.3))
    yield sitting("denoiser, second sitting", denoiser, 40, (0.8, 0.02))
    yield sitting("denoiser, third sitting", denoiser, 65, (0.6, 0.01))
    yield sitting("vae, second sitting", decoder, 8, (0.6, 0.03))
    yield Stage("export", 0, lambda: export_pipeline(recipe, workshop, workshop.base))
    yield Stage("pictures for the oracle", 0, lambda: compose_for_oracle(recipe, workshop))
    yield sitting("oracle", oracle, 60, (1.0, 0.004))
    yield sitting("tiny CLIP", tiny_clip, 10, (1.0, 0.02))
    yield Stage("export of the oracle", 0, lambda: ship_oracle(recipe, workshop, workshop.readers))
    yield Stage("export of the tiny CLIP", 0, lambda: ship_tiny_clip(recipe, workshop, workshop.readers))


def _record(workshop: Workshop) -> Path:
    return workshop.folder / "stages.json"
