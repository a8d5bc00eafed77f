"""Owns `lorasmith evaluate`: how good runs, exports and LoRA files are; measures nothing itself."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.lists import listed
from lorasmith.cli.talk import give, say
from lorasmith.errors import ConfigError

if TYPE_CHECKING:
    from lorasmith.evaluation.scores import Evaluation


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("evaluate")(evaluate)


def evaluate(
    sources: Annotated[list[Path], typer.Argument(metavar="RUN|FILE…", help="Runs, export folders or LoRA files.")],
    *,
    concept: Annotated[str | None, typer.Option(help="Which of `lorasmith world concepts` it is.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="A third of the pictures, no curve.")] = False,
    scale: Annotated[float | None, typer.Option(help="Adapter scale; without it the export's own.")] = None,
    scales: Annotated[
        list[str] | None, typer.Option(help="Scales of the curve, such as 0.4,0.8,1.2; `none` for none.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other pictures.")] = 0,
    steps: Annotated[int | None, typer.Option(help="Sampling steps.")] = None,
    guidance: Annotated[float | None, typer.Option(help="Guidance scale.")] = None,
    prompt: Annotated[list[str] | None, typer.Option(help="Instead of the usual prompts; once for each.")] = None,
    class_word: Annotated[str | None, typer.Option(help="What the base calls the concept, such as dog.")] = None,
    token: Annotated[str | None, typer.Option(help="The token abstraction, where the export does not say it.")] = None,
    instance_images: Annotated[
        Path | None, typer.Option(help="Folder of the pictures it was trained on, where the run does not say it.")
    ] = None,
    base: Annotated[str | None, typer.Option(help="Another base than the one trained on.")] = None,
    clip: Annotated[str | None, typer.Option(help="CLIP's folder or hub id; `none` for none.")] = None,
    dino: Annotated[str | None, typer.Option(help="DINOv2's folder or hub id; `none` for none.")] = None,
    download: Annotated[bool, typer.Option("--download", help="Fetch CLIP and DINOv2 from the hub.")] = False,
    out: Annotated[Path | None, typer.Option(help="The report; without it in the run, or evaluation.html.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All numbers as JSON on stdout.")] = False,
    cache: Annotated[bool, typer.Option(help="Keep drawn pictures, so that measuring again draws nothing.")] = True,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
) -> None:
    """Measure what was learnt, obeyed, spoilt and copied; write a report with the pictures."""
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.evaluation.report import refuse_foreign, write_report
    from lorasmith.evaluation.scores import as_records
    from lorasmith.runs.evaluate import EvaluationSettings, evaluate_all
    from lorasmith.runs.examinee import report_place

    settings = EvaluationSettings(
        concept=concept, quick=quick, scale=scale, scales=_scales(scales), seed=seed, steps=steps, guidance=guidance,
        token=token, class_word=class_word, prompts=tuple(prompt or ()), instance_images=instance_images,
        clip=clip, dino=dino, download=download, cache=cache,
    )  # fmt: skip
    place = report_place(sources, base=base, out=out)
    refuse_foreign(place)
    with showing() as emit:
        evaluations = evaluate_all(sources, settings, base=base, device=device, emit=emit)
    write_report(evaluations, place)
    say(f"the report with all pictures: {place}")
    if as_json:
        give(json.dumps(as_records(evaluations), indent=2, allow_nan=False))
        return
    for line in _lines(evaluations):
        give(line)


def _lines(evaluations: "list[Evaluation]") -> list[str]:
    from lorasmith.evaluation.report import in_words, interval_in_words

    lines = list[str]()
    for one in evaluations:
        lines.append(f"{one.name}, {one.concept or 'a concept nobody knows'}, on {one.base}, read by {one.read_by}")
        for score in one.scores:
            interval = interval_in_words(score.estimate)
            beside = f", base {in_words(score.base)}" if score.base is not None else ""
            lines.append(
                f"  {score.explained.label:<38} {in_words(score.estimate.value):>6}"
                f"{f'  ({interval})' if interval else ''}{beside}"
            )
    return lines


def _scales(said: Sequence[str] | None) -> tuple[float, ...] | None:
    if not said:
        return None
    words = listed(said)
    if [word.lower() for word in words] == ["none"]:
        return ()
    try:
        scales = tuple(float(word) for word in words)
    except ValueError:
        scales = (-1.0,)
    if not all(0 < scale <= 4 for scale in scales):
        raise ConfigError(
            f"the scales {','.join(words)!r} are not numbers above 0 and up to 4", where="--scales",
            remedy="Write them as 0.4,0.8,1.2.",
        )  # fmt: skip
    return scales
