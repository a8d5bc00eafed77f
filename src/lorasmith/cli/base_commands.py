"""Owns `lorasmith base`: builds the embedded base, and says what a base of the emoji world reaches; does neither."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lorasmith.cli.talk import give, give_exactly, say
from lorasmith.errors import ConfigError

if TYPE_CHECKING:
    from lorasmith.evaluation.base_gates import Gate
    from lorasmith.runs.evaluate_base import BaseResult

_NOT_PASSED = 1


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="The embedded base: build it anew, see what it reaches."
    )
    group.command("build")(build)
    group.command("evaluate")(evaluate)
    app.add_typer(group, name="base")


def build(
    workshop: Annotated[Path, typer.Argument(help="Folder the build works in; a build goes on where it stopped.")],
    *,
    art: Annotated[
        Path | None, typer.Option(help="Folder of unpacked emoji packages; without it the sprites of the package.")
    ] = None,
    device: Annotated[str, typer.Option(help="cuda, mps or cpu.")] = "cpu",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    time_share: Annotated[float, typer.Option(min=0.0, help="Length of the sittings; 1 is about three hours.")] = 1.0,
    dry_run: Annotated[bool, typer.Option(help="List the stages and which are done.")] = False,
) -> None:
    """Build base, oracle and small CLIP from emoji art, stage by stage, each done once."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    import torch

    from lorasmith.base_builder.art_folder import find_art
    from lorasmith.base_builder.plan import Build, run_stages, stages, stages_done
    from lorasmith.base_builder.recipe import Workshop
    from lorasmith.training.precision import resolve_device

    resolve_device(device, where="--device")
    planned = Build(Workshop(workshop), find_art(art) if art else None, device=device, share_of_time=time_share)
    if dry_run:
        done = stages_done(planned.workshop)
        for stage in stages(planned):
            give(f"{'done' if stage.name in done else f'{stage.seconds / 60:.0f} min':<7} {stage.name}")
        return
    if workshop.exists() and not workshop.is_dir():
        raise ConfigError(f"{workshop} is a file", where="WORKSHOP", remedy="Name a folder.")
    torch.set_num_threads(threads)
    if run_stages(planned, on_stage=lambda stage: say(f"{stage.name}, {stage.seconds / 60:.0f} min …")) == 0:
        say("Everything is done.")
    give(str(planned.workshop.base))
    give(str(planned.workshop.readers))


def evaluate(
    base: Annotated[str, typer.Argument(help="`embedded`, or the folder of another base of the emoji world.")] = (
        "embedded"
    ),
    *,
    prompts: Annotated[int, typer.Option(min=1, help="How many pictures to draw and read.")] = 201,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 4.0,
    steps: Annotated[int, typer.Option(min=1, help="Sampling steps.")] = 20,
    seed: Annotated[int, typer.Option(help="Another seed, other prompts and other noise.")] = 0,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    sheet: Annotated[Path | None, typer.Option(help="Write the pictures to this PNG.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Leave with 1 when a gate is missed.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Draw prompts with a base, read the pictures with the oracle, and hold the numbers against the gates."""
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.evaluate_base import BaseRequest, evaluate_base

    request = BaseRequest(base, prompts, guidance, steps, seed, device, sheet)
    with showing() as emit:
        result = evaluate_base(request, emit)
    if as_json:
        give_exactly(json.dumps(_as_data(result), indent=2))
    else:
        for line in _lines(result):
            give(line)
    if check and not result.is_passed:
        raise typer.Exit(_NOT_PASSED)


def _lines(result: "BaseResult") -> Iterator[str]:
    yield f"{'gate':<24} {'measured':>10} {'limit':>10}        measured on"
    for gate in result.gates:
        numbers = f"{_number(gate, gate.measured):>10} {_number(gate, gate.limit):>10}"
        yield f"{gate.name:<24} {numbers} {'passed' if gate.is_passed else 'MISSED'} {gate.measured_on}"
    worst = result.marks.confusions[result.marks.worst]
    if worst:
        confused = ", ".join(f"{one.true} as {one.read} ({one.count})" for one in worst)
        yield f"read worst: {result.marks.worst}: {confused}"


def _number(gate: "Gate", value: float) -> str:
    return f"{value:.1f} {gate.unit}" if gate.unit else f"{value:.1%}"


def _as_data(result: "BaseResult") -> dict[str, Any]:
    gates = [{**asdict(gate), "passed": gate.is_passed} for gate in result.gates]
    return {"base": result.base, "passed": result.is_passed, "gates": gates, "readings": asdict(result.marks)}
