"""Owns `lorasmith bench`: asks for a measurement and prints it; measures nothing itself."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from lorasmith.cli.talk import give, give_exactly

if TYPE_CHECKING:
    from lorasmith.bench.step import BenchResult

_Choice = TypeVar("_Choice", bound=str)


def add_to(app: typer.Typer) -> None:
    """Add the command and its subcommand."""
    bench = typer.Typer(help="Measure; prints, and never passes or fails.", no_args_is_help=True)
    bench.command("step")(step)
    app.add_typer(bench, name="bench")


def step(
    *,
    base: Annotated[
        str, typer.Option(help="`medium` (120 M random parameters), `sdxl` (real size, random) or a folder.")
    ] = "medium",
    size: Annotated[
        int | None, typer.Option(help="Side of the square in pixels; the base's own when not given.")
    ] = None,
    batch: Annotated[int, typer.Option(help="Pictures in one pass.")] = 1,
    rank: Annotated[int, typer.Option(help="Rank of the adapter.")] = 8,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, bf16, fp16 or auto.")] = "auto",
    optimizer: Annotated[str, typer.Option(help="adamw or prodigy.")] = "prodigy",
    gradient_checkpointing: Annotated[bool, typer.Option(help="Compute activations twice.")] = False,
    rounds: Annotated[int, typer.Option(help="Rounds in which all take turns.")] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Time a training step before and after the pivot against the bare denoiser, taking turns in one run."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.bench.step import BenchRequest, bench_step

    request = BenchRequest(
        base=_base(base),
        size=size,
        batch_size=batch,
        rank=rank,
        device=device,
        precision=_one_of(precision, ("auto", "fp32", "bf16", "fp16")),
        optimizer=_one_of(optimizer, ("adamw", "prodigy")),
        gradient_checkpointing=gradient_checkpointing,
        rounds=rounds,
    )
    result = bench_step(request)
    if as_json:
        give_exactly(json.dumps(asdict(result), indent=2))
        return
    for line in bench_lines(result):
        give(line)


def bench_lines(result: "BenchResult") -> Iterator[str]:
    """A result as people read it."""
    yield (
        f"denoiser of {result.denoiser_parameters / 1e6:.1f} M parameters at {result.size} px, batch "
        f"{result.batch_size}, rank {result.rank}, {result.precision} on {result.device}, {result.threads} threads"
    )
    for name, timing in result.timings.items():
        spread = f"({timing.lower:.3f} to {timing.upper:.3f})"
        yield f"{name:<24}{timing.median:8.3f} s {spread:<20} ×{timing.ratio:.3f}"
    yield f"share of a large product  {result.share_of_matmul:.0%} of {result.matmul_flops / 1e12:.2f} TFLOP/s"
    yield f"peak memory               {result.peak_bytes / 2**30:.2f} GiB"
    yield "optimizer state           " + ", ".join(f"{name} {size:,}" for name, size in result.optimizer_state.items())


def _base(said: str) -> "Literal['medium', 'sdxl'] | Path":
    return said if said in ("medium", "sdxl") else Path(said)


def _one_of(said: str, choices: tuple[_Choice, ...]) -> _Choice:
    for choice in choices:
        if said == choice:
            return choice
    raise typer.BadParameter(f"{said!r} is none of {', '.join(choices)}")
