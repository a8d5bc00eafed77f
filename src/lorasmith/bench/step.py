"""Owns measuring what a training step costs over the bare denoiser, interleaved in one run; asserts nothing.

Machines are noisy, so the contestants take turns: each round times every one of them once, and what is reported are
medians and their ratios.
"""

import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from torch.nn import functional

from lorasmith.config.train import TrainConfig
from lorasmith.events import ignore
from lorasmith.models.family import Conditioning
from lorasmith.models.sdxl.cost import latent_scale, step_cost
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import measured_flops, survey
from lorasmith.runs.prepare import prepare
from lorasmith.sizes import Size
from lorasmith.testing import medium_pipeline, pictures, write_real_sdxl
from lorasmith.training.loop import Training, take_step
from lorasmith.training.step import draw_chance

BenchBase = Literal["medium", "sdxl"]


@dataclass(frozen=True)
class BenchRequest:
    """What to measure. `medium`: 120 M random parameters at 256 px; `sdxl`: the real configuration, random weights."""

    base: BenchBase | Path = "medium"
    size: int | None = None
    batch_size: int = 1
    rank: int = 8
    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    optimizer: Literal["adamw", "prodigy"] = "prodigy"
    gradient_checkpointing: bool = False
    rounds: int = 7
    warm_up: int = 2


@dataclass(frozen=True)
class Timing:
    """Seconds of one contestant: the median, the quartiles, and the ratio of its median to the bare denoiser's."""

    median: float
    lower: float
    upper: float
    ratio: float


@dataclass(frozen=True)
class BenchResult:
    """What was measured, on what."""

    device: str
    precision: str
    threads: int
    size: int
    batch_size: int
    rank: int
    denoiser_parameters: int
    timings: Mapping[str, Timing]
    optimizer_state: Mapping[str, int]
    """Elements that the optimizers remember, by part and name."""
    matmul_flops: float
    """Operations a second of a large product on this device, measured now."""
    share_of_matmul: float
    """How much of that the step after the pivot reaches."""
    peak_bytes: int
    """Most memory taken: the device's on CUDA, else the process's."""
    settings: Mapping[str, str | int] = field(default_factory=dict[str, str | int])


BARE, BEFORE, AFTER = "bare denoiser", "step before the pivot", "step after the pivot"


def bench_step(request: BenchRequest) -> BenchResult:
    """Measure the bare denoiser's forward and backward pass and a whole step before and after the pivot."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = _base(request, folder)
        before = _training(request, base, folder / "before", pivot=1.0)
        after = _training(request, base, folder / "after", pivot=0.0)
        contestants: dict[str, Callable[[], object]] = {
            BARE: bare_denoiser(after),
            BEFORE: lambda: take_step(before),
            AFTER: lambda: take_step(after),
        }
        seconds = interleaved(contestants, rounds=request.rounds, warm_up=request.warm_up, device=after.family.device)
        return _result(request, base, before, after=after, seconds=seconds)


def interleaved(
    contestants: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int, device: torch.device
) -> dict[str, list[float]]:
    """Seconds of each contestant in each round; all take turns, after rounds that are not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(warm_up + rounds):
        for name, work in contestants.items():
            took = _timed(work, device)
            if turn >= warm_up:
                seconds[name].append(took)
    return seconds


def bare_denoiser(training: Training) -> Callable[[], None]:
    """The denoiser's forward and backward pass with the run's own adapter, on prompts and latents already there."""
    training.enter_phase()
    family, batch = training.family, training.batches.batch_at(0)
    draws = draw_chance(batch, training.objective, seed=0, micro_step=0, device=family.device)
    latents = batch.latents.to(family.device).mean
    noisy_latents = training.objective.corrupt(latents, draws.noise, draws.timesteps)
    times = training.objective.times(draws.timesteps)
    with torch.no_grad(), training.precision.autocast():
        prompts = training.prompts.embeddings(batch.captions, training.phase)
    conditioning = Conditioning(prompts, family.time_ids(batch.sizes))

    def run() -> None:
        training.parts["denoiser"].zero_gradient()
        with training.precision.autocast():
            prediction = family.predict(noisy_latents, times, conditioning)
        functional.mse_loss(prediction.float(), draws.noise).backward()  # pyright: ignore[reportUnknownMemberType]

    return run


def optimizer_state(training: Training) -> dict[str, int]:
    """Elements that the optimizers remember: nothing but adapters and new rows."""
    return {
        f"{name}: {key}": tensor.numel()
        for name, part in training.parts.items()
        for key, tensor in part.capture().tensors.items()
    }


def _base(request: BenchRequest, folder: Path) -> Path:
    match request.base:
        case "medium":
            return medium_pipeline(folder / "base")
        case "sdxl":
            return write_real_sdxl(folder / "base")
        case path:
            return path


def _training(request: BenchRequest, base: Path, folder: Path, *, pivot: float) -> Training:
    """A run whose new tokens train to the end (pivot 1) or never (pivot 0)."""
    pictures(folder / "pictures", request.batch_size)
    config = TrainConfig.model_validate(
        {
            "model": {"base": str(base)},
            "data": {
                "instance_images": folder / "pictures",
                "instance_prompt": "a photo of TOK on a beach",
                "resolution": request.size or (256 if request.base == "medium" else None),
                "cache_folder": folder / "cache",
            },
            "adapter": {"rank": request.rank, "targets": "attention"},
            "optimizer": {"name": request.optimizer},
            "schedule": {"steps": 1000, "batch_size": request.batch_size, "pivot": pivot},
            "runtime": {
                "device": request.device,
                "precision": request.precision,
                "gradient_checkpointing": request.gradient_checkpointing,
            },
            "output": {"folder": folder / "run"},
        }
    )
    training = prepare(config, survey(config), RunFolder(folder / "run"), ignore).training
    training.enter_phase()
    return training


def _timed(work: Callable[[], object], device: torch.device) -> float:
    _wait_for(device)
    started = time.perf_counter()
    work()
    _wait_for(device)
    return time.perf_counter() - started


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _result(
    request: BenchRequest,
    base: Path,
    before: Training,
    *,
    after: Training,
    seconds: Mapping[str, Sequence[float]],
) -> BenchResult:
    device, latents = after.family.device, after.batches.batch_at(0).latents.mean
    scale = latent_scale(base)
    size = Size(latents.shape[2] * scale, latents.shape[3] * scale)
    cost = step_cost(base, size)
    flops = measured_flops(device, after.precision)
    median_after = statistics.median(seconds[AFTER])
    return BenchResult(
        device=torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        precision=after.precision.name,
        threads=torch.get_num_threads(),
        size=size.height,
        batch_size=request.batch_size,
        rank=request.rank,
        denoiser_parameters=cost.denoiser_parameters,
        timings=_timings(seconds),
        optimizer_state=optimizer_state(before),
        matmul_flops=flops,
        share_of_matmul=request.batch_size * cost.flops / median_after / flops,
        peak_bytes=_peak_bytes(device),
        settings={"optimizer": request.optimizer, "rounds": request.rounds},
    )


def _timings(seconds: Mapping[str, Sequence[float]]) -> dict[str, Timing]:
    bare = statistics.median(seconds[BARE])
    timings: dict[str, Timing] = {}
    for name, values in seconds.items():
        lower, median, upper = statistics.quantiles(values, n=4) if len(values) > 1 else [values[0]] * 3
        timings[name] = Timing(median, lower, upper, median / bare)
    return timings


def _peak_bytes(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
