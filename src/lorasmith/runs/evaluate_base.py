"""Owns `lorasmith base evaluate`: draws prompts with a base of the emoji world and has the oracle read the pictures."""

from __future__ import annotations

import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import torch
from PIL import Image

from lorasmith import embedded
from lorasmith.config.base import ModelConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.evaluation import Marks, Oracle, mark, open_oracle
from lorasmith.evaluation.base_gates import Cost, Gate, base_scenes, cost_gates, reading_gates
from lorasmith.events import Emit, WorkDone, ignore
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.grids import SheetRow, contact_sheet
from lorasmith.inference.pipeline import open_pipeline
from lorasmith.training.precision import resolve_device
from lorasmith.world import STYLES, Scene, prompt_of

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

_EMBEDDED: Final = "embedded"
_AT_ONCE: Final = 8
_TIMED_PICTURES: Final = 4
_TIMED_STEPS: Final = 20
_SHEET_COLUMNS: Final = 8


@dataclass(frozen=True, slots=True)
class BaseRequest:
    """Which base, how many prompts, and how they are drawn; `sheet` is a PNG to write the pictures to."""

    base: str = _EMBEDDED
    prompts: int = 201
    guidance: float = 4.0
    steps: int = 20
    seed: int = 0
    device: str = "auto"
    sheet: Path | None = None


@dataclass(frozen=True, slots=True)
class BaseResult:
    """The gates, each with what it was measured on, and how the pictures were read in full."""

    base: str
    gates: tuple[Gate, ...]
    marks: Marks

    @property
    def is_passed(self) -> bool:
        """Whether every gate is."""
        return all(gate.is_passed for gate in self.gates)


def evaluate_base(request: BaseRequest, emit: Emit = ignore, *, oracle: Oracle | None = None) -> BaseResult:
    """Draw balanced prompts and read them; a ConfigError for no prompts, a DataError for a base of other pictures."""
    if request.prompts < 1:
        raise ConfigError(f"{request.prompts} prompts measure nothing", where="--prompts")
    device = resolve_device(request.device, where="--device")
    reader = (oracle or open_oracle()).among(STYLES)
    pipeline, opening = _opened(request, device)
    _refuse_other_bases(pipeline, request.base)
    cost = Cost(_megabytes(request.base), opening, _time_four(pipeline, request))
    scenes = base_scenes(request.prompts, seed=request.seed)
    pictures = _drawn(pipeline, scenes, request, emit)
    if request.sheet is not None:
        _write_sheet(pictures, scenes, request.sheet)
    readings = reader.read(pictures)
    drawn = f"at guidance {request.guidance:g}, {request.steps} steps, seed {request.seed}"
    machine = f"{_processor(device)}, {torch.get_num_threads()} threads"
    gates = (*reading_gates(readings, scenes, drawn=drawn), *cost_gates(cost, machine=machine))
    return BaseResult(request.base, gates, mark(readings, scenes))


def _opened(request: BaseRequest, device: torch.device) -> tuple[StableDiffusionXLPipeline, float]:
    started = time.perf_counter()
    pipeline = open_pipeline(ModelConfig(base=request.base), device=device, dtype=torch.float32)
    return pipeline, time.perf_counter() - started


def _refuse_other_bases(pipeline: StableDiffusionXLPipeline, base: str) -> None:
    """Pictures of a base that was made for larger ones are not of the emoji world."""
    side = int(pipeline.unet.config["sample_size"]) * int(pipeline.vae_scale_factor)
    if side > 128:
        raise DataError(
            f"the base {base!r} draws at {side} pixels", remedy="The oracle reads bases of the emoji world alone."
        )


def _time_four(pipeline: StableDiffusionXLPipeline, request: BaseRequest) -> float:
    """Seconds for four pictures of twenty steps, after a picture of one step to warm up."""
    prompts = [prompt_of(scene) for scene in base_scenes(_TIMED_PICTURES)]
    warm_up = DrawSettings(1, request.guidance)
    draw(pipeline, [DrawRequest(prompts[0], 0, settings=warm_up)])
    settings = DrawSettings(_TIMED_STEPS, request.guidance)
    requests = [DrawRequest(prompt, seed, settings=settings) for seed, prompt in enumerate(prompts)]
    started = time.perf_counter()
    draw(pipeline, requests, batch_size=_TIMED_PICTURES)
    return time.perf_counter() - started


def _drawn(
    pipeline: StableDiffusionXLPipeline, scenes: Sequence[Scene], request: BaseRequest, emit: Emit
) -> list[Image.Image]:
    settings = DrawSettings(request.steps, request.guidance)
    requests = [
        DrawRequest(prompt_of(scene), request.seed + place, settings=settings) for place, scene in enumerate(scenes)
    ]

    def tell(done: int) -> None:
        emit(WorkDone("drawing prompts", done, len(requests)))

    return draw(pipeline, requests, batch_size=_AT_ONCE, on_picture=tell)


def _write_sheet(pictures: Sequence[Image.Image], scenes: Sequence[Scene], path: Path) -> None:
    rows = [
        SheetRow(prompt_of(scenes[start]) + " …", pictures[start : start + _SHEET_COLUMNS])
        for start in range(0, len(pictures), _SHEET_COLUMNS)
    ]
    contact_sheet(rows, title="What the base draws").save(path)


def _megabytes(base: str) -> float:
    folder = embedded.path() if base == _EMBEDDED else Path(base).expanduser()
    paths = [folder] if folder.is_file() else [path for path in folder.rglob("*") if path.is_file()]
    return sum(path.stat().st_size for path in paths) / 1e6


def _processor(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
