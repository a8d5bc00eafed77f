"""Owns `lorasmith experiments`: runs the trials of experiment files and prints their tables; counts nothing itself."""

from pathlib import Path
from typing import Annotated

import typer

from lorasmith.cli.talk import give, quieten_libraries, say

Folder = Annotated[Path, typer.Argument(help="Where `lorasmith experiments run --to` put its trials.")]
Out = Annotated[Path | None, typer.Option("--out", help="Write the tables here as well (markdown).")]


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="What an option does, measured on the embedded base: arms, concepts, seeds, and a table with intervals.",
    )
    group.command("list")(list_shipped)
    group.command("run")(run)
    group.command("table")(table)
    group.command("regret")(regret)
    group.command("proxies")(proxies)
    app.add_typer(group, name="experiments")


def list_shipped() -> None:
    """List the experiments that ship with lorasmith: name, trials, question."""
    # Lazy here and below, because --help must not wait for torch.
    from lorasmith.runs.experiment_file import read_experiment, shipped_experiments, trials_of

    shipped = shipped_experiments()
    width = max(map(len, shipped))
    for name, path in shipped.items():
        experiment = read_experiment(path)
        give(f"{name:<{width}} {len(trials_of(experiment)):>4} trials  {experiment.question}")


def run(
    experiments: Annotated[list[str], typer.Argument(help="Experiment files (TOML), or names of shipped ones.")],
    *,
    to: Annotated[Path, typer.Option("--to", help="Folder of the trials; those that are done are not done again.")],
    workers: Annotated[int, typer.Option(min=1, help="Processes to work side by side.")] = 1,
) -> None:
    """Do every trial of the experiments that is not done yet. Stop it at any time; the same command goes on."""
    from lorasmith.data.wording import counted
    from lorasmith.runs.experiment_file import find_experiment
    from lorasmith.runs.experiment_workers import run_with_workers

    paths = [find_experiment(named) for named in experiments]
    done = run_with_workers(paths, to, workers=workers, tell=say, prepare=quieten_libraries)
    say(f"Done meanwhile: {counted(done, 'trial')}. `lorasmith experiments table {to}` shows what they say.")


def table(folder: Folder, *, out: Out = None) -> None:
    """Print each experiment's table so far: means, and differences from the reference arm with 95 % intervals."""
    from lorasmith.runs.experiment_tables import as_markdown, tables_of

    _give("\n".join(as_markdown(one) for one in tables_of(folder)), out)


def regret(
    folder: Folder,
    *,
    score: Annotated[str, typer.Option(help="The score that checkpoints are compared by.")] = "joint",
    only: Annotated[list[str] | None, typer.Option(help="Of this experiment alone; once for each.")] = None,
    out: Out = None,
) -> None:
    """Print what each rule for choosing a checkpoint loses, over the trials with several checkpoints evaluated."""
    from lorasmith.runs.regret import as_markdown, regrets

    _give(as_markdown(regrets(folder, score=score, experiments=only or ()), score=score), out)


def proxies(folder: Folder, *, out: Out = None) -> None:
    """Print how far scores that need no truth (CLIP's, held-out loss) order the trials as the truth does."""
    from lorasmith.runs.proxies import agreements, as_markdown

    _give(as_markdown(agreements(folder)), out)


def _give(text: str, out: Path | None) -> None:
    give(text.rstrip("\n"))
    if out is not None:
        from lorasmith.atomic import write_text

        write_text(out, text)
