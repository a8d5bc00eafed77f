"""Owns `lorasmith bench`: asks for measurements and prints them as a table; measures nothing itself."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.talk import give, give_exactly, say

if TYPE_CHECKING:
    from lorasmith.bench.step import BenchResult


class Precision(StrEnum):
    """Compute precisions."""

    AUTO = "auto"
    FP32 = "fp32"
    BF16 = "bf16"
    FP16 = "fp16"


class Optimizer(StrEnum):
    """Optimizers."""

    ADAMW = "adamw"
    PRODIGY = "prodigy"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, help="Measure; ratios are taken in one run.")
    group.callback()(_measure)
    group.command("step")(step)
    app.add_typer(group, name="bench")


def _measure() -> None:
    """Keeps `step` a subcommand: typer folds a group of one command into the command."""


def step(
    base: Annotated[str, typer.Option(help="medium (120 M random parameters), sdxl, or a folder.")] = "medium",
    *,
    size: Annotated[int | None, typer.Option(help="Side in pixels; without it the base's own.")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures in a step.")] = 1,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapter.")] = 8,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    precision: Annotated[Precision, typer.Option(help="Compute precision.")] = Precision.AUTO,
    optimizer: Annotated[Optimizer, typer.Option(help="Which optimizer.")] = Optimizer.PRODIGY,
    gradient_checkpointing: Annotated[bool, typer.Option(help="Compute activations twice.")] = False,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is timed.")] = 7,
    warm_up: Annotated[int, typer.Option(min=0, help="Rounds before, not counted.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a training step before and after the pivot over the bare denoiser."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.bench.step import BenchRequest, bench_step

    request = BenchRequest(
        base=Path(base) if base not in ("medium", "sdxl") else base,
        size=size,
        batch_size=batch_size,
        rank=rank,
        device=device,
        precision=precision.value,
        optimizer=optimizer.value,
        gradient_checkpointing=gradient_checkpointing,
        rounds=rounds,
        warm_up=warm_up,
    )
    say(f"Measuring {rounds} rounds after {warm_up} to warm up …")
    result = bench_step(request)
    if as_json:
        give_exactly(json.dumps(asdict(result), indent=2))
        return
    for line in _lines(result):
        give(line)


def _lines(result: "BenchResult") -> Iterator[str]:
    millions = result.denoiser_parameters / 1e6
    yield f"denoiser of {millions:.0f} M parameters, {result.size} px, batch {result.batch_size}, rank {result.rank}"
    yield f"{result.device}, {result.precision}, {result.threads} threads"
    yield f"{'':<24} {'ratio':>6} {'median':>9}  quartiles"
    for name, timing in result.timings.items():
        quartiles = f"{timing.lower:.3f}–{timing.upper:.3f} s"
        yield f"{name:<24} {timing.ratio:>6.2f} {timing.median:>7.3f} s  {quartiles}"
    yield "the optimizers remember " + ", ".join(
        f"{count} numbers of {part}" for part, count in result.optimizer_state.items()
    )
    yield f"{result.share_of_matmul:.0%} of this device's large products; at most {result.peak_bytes / 2**30:.1f} GiB"
