"""Owns `lorasmith generate`: draws with a run, an export, LoRA files or the base alone; draws nothing itself."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import typer

from lorasmith.cli.lists import listed
from lorasmith.cli.talk import give, say
from lorasmith.config.text import LongPrompts
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError

Number = TypeVar("Number", int, float)
_PLACES = "[RUN] PROMPT"
_WORDS_HELP = (
    "What to draw, such as `a photo of TOK on the beach`. Before it, what to draw with: a run folder, an export folder "
    "or a LoRA file; without one the base draws, with the LoRAs that are named."
)


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("generate")(generate)


def generate(
    words: Annotated[list[str], typer.Argument(metavar=_PLACES, help=_WORDS_HELP)],
    *,
    prompt: Annotated[list[str] | None, typer.Option(help="Another prompt to draw; may be repeated.")] = None,
    negative_prompt: Annotated[str, typer.Option(help="What to keep out.")] = "",
    count: Annotated[int, typer.Option(help="How many pictures of each prompt, where one seed is given.")] = 4,
    seed: Annotated[
        list[str] | None,
        typer.Option(help="Seed of the first picture, the others count on from it; or seeds: 1,2,3.", show_default="0"),
    ] = None,
    scale: Annotated[
        list[str] | None, typer.Option(help="Adapter scale, or several: 0.5,0.8,1; without it the export's own.")
    ] = None,
    checkpoint: Annotated[
        list[str] | None, typer.Option(help="Steps of the run's checkpoints: 400,800,final; or all.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Sampling steps.")] = 25,
    guidance: Annotated[float, typer.Option(help="Guidance scale.")] = 5.0,
    sampler: Annotated[
        str | None, typer.Option(help="Sampler by any program's name: `DPM++ 2M Karras`, `euler_ancestral`, `UniPC`.")
    ] = None,
    schedule: Annotated[str | None, typer.Option(help="Where its steps lie: Karras, sgm_uniform, …")] = None,
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT; without it the base's own.")] = None,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="FILE[:SCALE]", help="A LoRA file; may be repeated.")
    ] = None,
    embedding: Annotated[list[Path] | None, typer.Option(help="An embeddings file; may be repeated.")] = None,
    lora_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder where <lora:name:0.8> is looked for; may be repeated.")
    ] = None,
    embedding_folder: Annotated[
        list[Path] | None, typer.Option(help="Folder where embeddings are looked for; may be repeated.")
    ] = None,
    program: Annotated[
        Path | None, typer.Option(help="Folder of A1111, Forge or ComfyUI: both are looked for there.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the pictures; without it one in the run.")] = None,
    side_by_side: Annotated[bool, typer.Option(help="Draw the same seeds without the concept too.")] = True,
    base: Annotated[str | None, typer.Option(help="Another base than the one trained on.")] = None,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
    batch_size: Annotated[int | None, typer.Option(help="Pictures drawn at once; without it by their size.")] = None,
    clip_skip: Annotated[int | None, typer.Option(help="Text layers to leave out; without it as in training.")] = None,
    long_prompts: Annotated[
        LongPrompts | None, typer.Option(help="Cut long prompts or read them in chunks; without it as in training.")
    ] = None,
    prompt_syntax: Annotated[
        Literal["a1111", "plain"], typer.Option(help="Whether (word:1.2), <lora:…> and BREAK mean something.")
    ] = "a1111",
) -> None:
    """Draw pictures with a concept, and without it side by side."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.generate import GenerateRequest
    from lorasmith.runs.generate import generate as draw
    from lorasmith.sizes import Size

    source, first_prompt = _source_and_prompt(words)
    width_and_height = _size(size)
    scales = _numbers(scale, float, "--scale") if scale else (None,)
    request = GenerateRequest(
        source=source,
        prompt=first_prompt,
        negative_prompt=negative_prompt,
        more_prompts=tuple(prompt or ()),
        count=count,
        seed=_numbers(seed or ["0"], int, "--seed"),
        scale=scales[0] if len(scales) == 1 else tuple(number for number in scales if number is not None),
        checkpoint=listed(checkpoint),
        steps=steps,
        guidance=guidance,
        sampler=sampler,
        schedule=schedule,
        size=Size(width_and_height[1], width_and_height[0]) if width_and_height else None,
        side_by_side=side_by_side,
        out=out,
        base=base,
        device=device,
        batch_size=batch_size,
        clip_skip=clip_skip,
        long_prompts=long_prompts,
        prompt_syntax=prompt_syntax,
        lora=tuple(lora or ()),
        embedding=tuple(embedding or ()),
        lora_folder=tuple(lora_folder or ()),
        embedding_folder=tuple(embedding_folder or ()),
        program=program,
    )
    with showing() as emit:
        result = draw(request, emit)
    say(f"{len(result.pictures)} drawn, with a sheet of all: {result.sheet}")
    for picture in result.pictures:
        give(str(picture))


def _source_and_prompt(words: list[str]) -> tuple[Path | None, str]:
    """What to draw with, if it was named, and the prompt."""
    match words:
        case [source, prompt]:
            return Path(source), prompt
        case [prompt] if not Path(prompt).exists():
            return None, prompt
        case [source]:
            raise ConfigError(
                f"there is no prompt behind {shown(source)}",
                where="PROMPT",
                remedy='Say what to draw: lorasmith generate RUN "a photo of TOK".',
            )
        case _:
            raise ConfigError(
                f"{len(words)} words were given where RUN and PROMPT are two",
                where="PROMPT",
                remedy="Put the prompt in quotes; further prompts are --prompt.",
            )


def _numbers(said: Sequence[str], kind: Callable[[str], Number], where: str) -> tuple[Number, ...]:
    try:
        return tuple(kind(part) for part in listed(said))
    except ValueError:
        raise ConfigError(
            f"{shown(','.join(said))!r} is not a number, nor several with commas between",
            where=where,
            remedy="Write it as 1,2,3.",
        ) from None


def _size(text: str | None) -> tuple[int, int] | None:
    """(width, height) out of `1024x768`."""
    if text is None:
        return None
    width, _, height = text.lower().replace("×", "x").partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise ConfigError(f"the size {text!r} is not WIDTHxHEIGHT", where="--size", remedy="Write it as 1024x768.")
    return int(width), int(height)
