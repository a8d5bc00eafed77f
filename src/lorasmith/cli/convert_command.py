"""Owns `lorasmith convert`: rewrites a LoRA or embeddings file for another program; compares before it writes."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorasmith.cli.talk import give, say
from lorasmith.data.wording import counted, spread

_Target = Literal["diffusers", "kohya", "kohya-diffusers", "comfyui", "cog", "a1111-bundle", "embeddings"]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("convert")(convert)


def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="A LoRA or embeddings file of any program.")],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; it may not be there yet.")],
    *,
    to: Annotated[_Target, typer.Option(help="The program whose spelling the file gets.")],
    dtype: Annotated[Literal["fp32", "fp16", "bf16"], typer.Option(help="Precision of the adapters.")] = "fp32",
    rank: Annotated[int | None, typer.Option(help="Resize to this rank by singular values.")] = None,
    energy: Annotated[
        float | None, typer.Option(help="Resize each layer to the smallest rank that keeps this share, such as 0.99.")
    ] = None,
    strength: Annotated[float, typer.Option(help="A scale to fold in, such as 0.8.")] = 1.0,
    bake: Annotated[bool, typer.Option("--bake", help="Make a DoRA a plain LoRA; needs --base.")] = False,
    base: Annotated[str | None, typer.Option(help="The base a DoRA was trained on: a folder, file or hub id.")] = None,
    split: Annotated[bool, typer.Option("--split", help="Write embeddings inside to files of their own.")] = False,
    join: Annotated[list[Path] | None, typer.Option(help="An embeddings file to put in; may be repeated.")] = None,
) -> None:
    """Rewrite a LoRA or embeddings file for another program, compared layer by layer before it is written."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.runs.convert import ConvertRequest
    from lorasmith.runs.convert import convert as rewrite

    done = rewrite(
        ConvertRequest(
            source=source, out=out, to=to, dtype=dtype, rank=rank, energy=energy, strength=strength, bake=bake,
            base=base, split=split, join=tuple(join or ()),
        )
    )  # fmt: skip
    if done.layers:
        differ = done.largest_difference
        exactly = f"the same change to {differ:.0e} of it" if differ else "exactly the same change"
        say(f"{counted(done.layers, 'layer')} of rank {spread(done.ranks)}, {exactly}")
    if done.lost is not None:
        say(f"lost of all changes together: {done.lost:.2%}")
    for path in done.files:
        give(str(path))
