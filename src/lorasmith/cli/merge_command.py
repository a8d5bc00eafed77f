"""Owns `lorasmith merge`: several adapters in, one out; merges nothing itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lorasmith.cli.lists import listed
from lorasmith.cli.talk import give, say
from lorasmith.errors import ConfigError

if TYPE_CHECKING:
    from lorasmith.runs.merge import MadeMerge, MergeMethod, MergeResult


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("merge")(merge)


def merge(
    sources: Annotated[
        list[str], typer.Argument(metavar="RUN|FILE[:WEIGHT]…", help="What to merge, such as `dog.safetensors:0.8`.")
    ],
    *,
    output: Annotated[Path, typer.Option(help="A new folder for the merge.")],
    method: Annotated[
        list[str] | None,
        typer.Option(
            metavar="sum|concat|svd|ties|dare|zip|null-space",
            help="How; once for each of several to compare. Without it concat.",
        ),
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Largest rank of svd, ties and dare.")] = None,
    energy: Annotated[float | None, typer.Option(help="Share of the change that their rank has to hold.")] = None,
    density: Annotated[float, typer.Option(help="Share of numbers that ties and dare keep.")] = 0.5,
    strength: Annotated[float, typer.Option(help="How strongly null-space protects; inf for wholly.")] = 0.5,
    protect: Annotated[int | None, typer.Option(help="Which one null-space protects; without it the last.")] = None,
    steps: Annotated[int, typer.Option(help="Steps that zip's mergers train.")] = 100,
    learning_rate: Annotated[float, typer.Option(help="Their learning rate.")] = 0.01,
    similarity_weight: Annotated[float, typer.Option(help="The paper's λ: how much zip wants mergers apart.")] = 0.0,
    batch_size: Annotated[int, typer.Option(help="Pictures of each adapter in a step of zip.")] = 4,
    instance_images: Annotated[
        list[Path] | None, typer.Option(help="For zip: each file's pictures with captions, in order.")
    ] = None,
    words: Annotated[
        list[str] | None, typer.Option(help="Token abstractions in the merge, such as TOK,STYLE; without it numbered.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of dare's choice and zip's noise.")] = 0,
    base: Annotated[str | None, typer.Option(help="The base, where files do not say it.")] = None,
    bake_rank: Annotated[int | None, typer.Option(help="Rank a DoRA is baked to; without it twice its own.")] = None,
    into_base: Annotated[
        Path | None, typer.Option(help="Put the merge into the base too: a new folder, or a new .safetensors file.")
    ] = None,
    precision: Annotated[Literal["fp32", "fp16", "bf16"], typer.Option(help="Of what is written.")] = "fp32",
    name: Annotated[str | None, typer.Option(help="Name of the merge's files; without it the folder's.")] = None,
    report: Annotated[Path | None, typer.Option(help="A page with the merges beside base and parents.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="What its pictures show; once for each prompt.")] = None,
    pictures: Annotated[int, typer.Option(help="For each of its prompts.")] = 2,
    drawing_steps: Annotated[int, typer.Option(help="Sampling steps of its pictures.")] = 20,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
) -> None:
    """Merge LoRAs into one, exactly or by a method; written for every program and read back."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.merging.zip_fit import ZipSettings
    from lorasmith.runs.merge import MergeRequest
    from lorasmith.runs.merge import merge as merge_all
    from lorasmith.runs.merge_sources import WeightedSource
    from lorasmith.runs.stop_signal import StopSignal

    if strength != strength or strength < 0:
        raise ConfigError(f"the strength {strength} is no positive number", where="--strength", remedy="Use 0.5.")
    request = MergeRequest(
        sources=tuple(WeightedSource.said(text) for text in sources),
        output=output,
        methods=tuple(_method(word) for word in method or ("concat",)),
        rank=rank,
        energy=energy,
        density=density,
        strength=None if strength == float("inf") else strength,
        protect=protect,
        zip=ZipSettings(steps, learning_rate, similarity_weight, batch_size),
        seed=seed,
        words=listed(words),
        instance_images=tuple(instance_images or ()),
        base=base,
        into_base=into_base,
        precision=precision,
        bake_rank=bake_rank,
        name=name,
        device=device,
        report=report,
        prompts=tuple(prompt or ()),
        pictures=pictures,
        drawing_steps=drawing_steps,
    )
    stop = StopSignal()
    with showing() as emit, stop.listening():
        result = merge_all(request, emit, should_stop=stop.is_set)
    for line in _lines(result):
        give(line)
    if result.base is not None:
        say(f"the base with the merge in it: {result.base}")
    if result.report is not None:
        say(f"the merges beside their parents: {result.report}")


def _method(word: str) -> "MergeMethod":
    from lorasmith.runs.merge_request import METHODS

    known: dict[str, MergeMethod] = {method: method for method in METHODS}
    if word not in known:
        raise ConfigError(f"there is no method {word!r}", where="--method", remedy=f"Use {', '.join(METHODS)}.")
    return known[word]


def _lines(result: "MergeResult") -> list[str]:
    lines = [_line(made) for made in result.merges]
    for opened, renamed in zip(result.parents, result.renamed, strict=True):
        words = [f"{one.abstraction} ({''.join(one.tokens)})" for one in renamed.rows.concepts]
        if words:
            lines.append(f"  {opened.parent.name} is said as {', '.join(words)}")
    return lines


def _line(made: "MadeMerge") -> str:
    ranks = " and ".join(map(str, made.ranks))
    lost = f", off by {made.lost:.1%} for its rank" if made.losses else ""
    return f"{made.method:<10} rank {ranks}{lost}, in {made.seconds:.1f} s: {made.folder}"
