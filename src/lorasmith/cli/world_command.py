"""Owns `lorasmith world`: lists the emoji world's concepts and writes their training sets; draws nothing itself."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorasmith.cli.talk import give, say
from lorasmith.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        no_args_is_help=True, rich_markup_mode=None, help="The world of the embedded base: what a LoRA can learn there."
    )
    group.command("concepts")(concepts)
    group.command("write")(write)
    app.add_typer(group, name="world")


def concepts() -> None:
    """List what the embedded base has not seen: held-out objects, identities, a style."""
    # Lazy here and below, because --help must not wait for it.
    from lorasmith.world import all_concepts

    for concept in all_concepts():
        give(f"{concept.kind:<9} {concept.name.replace(' ', '-')}")


def write(
    concept: Annotated[str, typer.Argument(help="One of `lorasmith world concepts`, or any private identity.")],
    folder: Annotated[Path, typer.Argument(help="Where the pictures go; made, or empty.")],
    *,
    count: Annotated[int, typer.Option(min=1, help="How many pictures.")] = 8,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.")] = 0,
    regime: Annotated[
        Literal["diverse", "same-background", "same-pose", "near-duplicates"],
        typer.Option(help="What the pictures share."),
    ] = "diverse",
    wording: Annotated[
        Literal["full", "shuffled", "class-word"],
        typer.Option(help="What captions say: everything, that of another picture, or the class word alone."),
    ] = "full",
) -> None:
    """Write a concept's pictures as PNG files, each with its caption in a .txt file of the same name."""
    from lorasmith.world import find_concept, training_set, write_training_set
    from lorasmith.world.recorded_concepts import record_concept

    chosen = find_concept(concept)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder} is not an empty folder", remedy="Name a new one: pictures must not be mixed.")
    paths = write_training_set(training_set(chosen, count=count, seed=seed, regime=regime, wording=wording), folder)
    record_concept(folder, chosen)
    say(f"{len(paths)} pictures of {chosen.name}, with captions, in {folder}")
