"""Owns `lorasmith push`: uploads a finished run's export; uploads nothing itself."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from lorasmith.cli.talk import give, give_exactly


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("push")(push)


def push(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run's folder.")],
    *,
    repo: Annotated[str | None, typer.Option(help="user/name, or a name of your own; without it the run's.")] = None,
    private: Annotated[bool, typer.Option("--private", help="Make the repository private.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was sent as JSON.")] = False,
) -> None:
    """Upload a finished run's exports and model card to the hub, or complete an upload."""
    # Lazy, because the hub's library takes a while and --help must not wait for it.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.push import Wish
    from lorasmith.runs.push import push as push_run

    with showing() as emit:
        result = push_run(run, Wish(repo, private), emit=emit)
    if as_json:
        give_exactly(json.dumps(asdict(result)))
    else:
        give(result.url)
