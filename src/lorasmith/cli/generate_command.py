"""Owns `lorasmith generate`: draws with a finished run or an export; draws nothing itself."""

from pathlib import Path
from typing import Annotated

import typer

from lorasmith.cli.talk import give, say
from lorasmith.config.text import LongPrompts
from lorasmith.errors import ConfigError


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate)


def generate(
    source: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or an export folder.")],
    prompt: Annotated[str, typer.Argument(help="What to draw, such as `a photo of TOK on the beach`.")],
    *,
    count: Annotated[int, typer.Option(help="How many pictures.")] = 4,
    seed: Annotated[int, typer.Option(help="Seed of the first picture; the others count on.")] = 0,
    scale: Annotated[float | None, typer.Option(help="Adapter scale; without it the export's own.")] = None,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 25,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 5.0,
    negative_prompt: Annotated[str, typer.Option(help="What to keep out.")] = "",
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; without it the base's own.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; without it one in the run.")] = None,
    side_by_side: Annotated[bool, typer.Option(help="Draw the same seeds without the concept too.")] = True,
    base: Annotated[str | None, typer.Option(help="Another base than the one trained on.")] = None,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    clip_skip: Annotated[int | None, typer.Option(help="Text layers to leave out; without it as in training.")] = None,
    long_prompts: Annotated[
        LongPrompts | None, typer.Option(help="Cut long prompts or read them in chunks; without it as in training.")
    ] = None,
) -> None:
    """Draw pictures with a concept, and without it side by side."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.generate import GenerateRequest
    from lorasmith.runs.generate import generate as draw
    from lorasmith.sizes import Size

    width_and_height = _size(size)
    request = GenerateRequest(
        source=source,
        prompt=prompt,
        negative_prompt=negative_prompt,
        count=count,
        seed=seed,
        scale=scale,
        steps=steps,
        guidance=guidance,
        size=Size(width_and_height[1], width_and_height[0]) if width_and_height else None,
        side_by_side=side_by_side,
        out=out,
        base=base,
        device=device,
        clip_skip=clip_skip,
        long_prompts=long_prompts,
    )
    with showing() as emit:
        result = draw(request, emit)
    say(f"{len(result.pictures)} drawn, with a sheet of all: {result.sheet}")
    for picture in result.pictures:
        give(str(picture))


def _size(text: str | None) -> tuple[int, int] | None:
    """(width, height) out of `1024x768`."""
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"the size {text!r} is not WIDTHxHEIGHT", where="--size", remedy="Write it as 1024x768.")
    return int(width), int(height)
