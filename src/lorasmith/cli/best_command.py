"""Owns `lorasmith best`: says which checkpoint of a run is taken and why; measures and exports nothing itself."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.talk import give, give_exactly, say

if TYPE_CHECKING:
    from lorasmith.runs.best import Best


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("best")(best)


def best(
    run: Annotated[Path, typer.Argument(help="A run folder with several checkpoints.")],
    *,
    concept: Annotated[
        str | None,
        typer.Option(
            help="On the embedded base: its concept, if its pictures do not say it; pictures are then scored."
        ),
    ] = None,
    step: Annotated[int | None, typer.Option(help="Take this checkpoint instead of choosing.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say which, export nothing.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the choice and all that was measured as JSON.")
    ] = False,
) -> None:
    """Choose among a run's checkpoints and export the one it takes, without training."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.best import best as best_of_run
    from lorasmith.runs.best_scorer import scorer_of

    scorer = scorer_of(run, concept=concept) if step is None else None
    with showing() as emit:
        found = best_of_run(run, step=step, scorer=scorer, dry_run=dry_run, emit=emit)
    if as_json:
        give_exactly(json.dumps(found.as_json(), indent=2))
    else:
        _show(found)


def _show(found: "Best") -> None:
    for one in found.measured.candidates:
        mark = "→" if one.step == found.choice.step else " "
        give(f"{mark} step {one.step:>6}{_number('held-out loss', one.held_out_loss)}{_number('drift', one.drift)}"
             f"{_number('score', one.score)}")  # fmt: skip
    give(f"step {found.choice.step}: {found.choice.reason}")
    say(f"exported to {found.export}" if found.export is not None else "nothing was exported (--dry-run)")


def _number(name: str, value: float | None) -> str:
    return "" if value is None else f"  {name} {value:.4f}"
