"""Owns `lorasmith caption` and `lorasmith mask`: words and masks for a folder's pictures; looks at none itself."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from lorasmith.cli.talk import give, say
from lorasmith.errors import ConfigError

_CLIPSEG = "CIDAS/clipseg-rd64-refined"


def add_to(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("caption")(caption)
    app.command("mask")(mask)


def caption(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the pictures.")],
    *,
    captioner: Annotated[
        Literal["blip", "florence2", "template"],
        typer.Option("--with", help="BLIP, Florence-2, or a template that needs no weights."),
    ] = "blip",
    source: Annotated[
        str | None, typer.Option("--model", metavar="ID_OR_PATH", help="Other weights than the usual ones.")
    ] = None,
    template: Annotated[
        str, typer.Option(help="What a template says; {name}, {number} and {shape} are filled in.")
    ] = "",
    detail: Annotated[
        Literal["short", "long", "longest"], typer.Option(help="How much Florence-2 is to say.")
    ] = "long",
    manner: Annotated[
        Literal["object", "style", "character", "face"] | None,
        typer.Option(help="Where the token abstraction stands: `a photo of TOK, …` or `…, in the style of TOK`."),
    ] = None,
    token: Annotated[str, typer.Option(help="The token abstraction that --manner writes.")] = "TOK",
    prefix: Annotated[str | None, typer.Option(help="What stands before each caption instead.")] = None,
    suffix: Annotated[str | None, typer.Option(help="What stands behind each caption instead.")] = None,
    to: Annotated[
        Literal["metadata", "sidecars"] | None,
        typer.Option(help="metadata.jsonl, or a .txt beside each picture; without it where captions are already."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace captions that are there.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Pictures looked at together.")] = 4,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
) -> None:
    """Write captions for the pictures of a folder that have none; Ctrl-C keeps what is written."""
    # Lazy, because torch and transformers take seconds and --help must not wait for them.
    from lorasmith.captioning.captioner import Frame, frame_of
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.caption import CaptionRequest, caption_folder

    if captioner == "template" and source is not None:
        raise ConfigError("a template has no weights", where="--model", remedy="Leave --model out.")
    if captioner != "template" and template:
        raise ConfigError("only a template is filled in", where="--template", remedy="Add `--with template`.")
    if captioner == "template" and not (template or manner or prefix or suffix):
        raise ConfigError("there is nothing to write", where="--with template", remedy="Add --manner or --template.")
    usual = frame_of(manner, token) if manner else Frame()
    frame = Frame(usual.prefix if prefix is None else prefix, usual.suffix if suffix is None else suffix)
    request = CaptionRequest(
        folder=folder, captioner=captioner, source=source, template=template, detail=detail, frame=frame, to=to,
        overwrite=overwrite, batch_size=batch_size, device=device,
    )  # fmt: skip
    with showing() as emit:
        result = caption_folder(request, emit)
    say(result.told)
    for name, text in result.captions.items():
        give(f"{name}\t{text}")


def mask(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder of the pictures.")],
    words: Annotated[str, typer.Argument(help="What is to be learnt of them, such as `a dog`.")],
    *,
    source: Annotated[str, typer.Option("--model", metavar="ID_OR_PATH", help="The CLIPSeg that draws.")] = _CLIPSEG,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the masks; without it NAME-masklabel.png beside each picture.")
    ] = None,
    temperature: Annotated[float, typer.Option(help="How soft the masks are; below 1 they are harder.")] = 1.0,
    floor: Annotated[float, typer.Option(min=0, max=1, help="What stays of the rest of the picture.")] = 0.0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Draw masks that are there anew.")] = False,
    device: Annotated[str, typer.Option(help="cuda, mps, cpu or auto.")] = "auto",
) -> None:
    """Draw a mask of what words name for each picture of a folder that has none."""
    from lorasmith.captioning.words_to_masks import MaskRequest
    from lorasmith.cli.progress_bar import showing
    from lorasmith.data.wording import counted
    from lorasmith.runs.masks import MaskFolderRequest, mask_folder

    if temperature <= 0:
        raise ConfigError(f"the temperature {temperature} is not above 0", where="--temperature", remedy="Give 1, say.")
    request = MaskFolderRequest(
        folder, MaskRequest(words, temperature, floor), source, out=out, overwrite=overwrite, device=device
    )
    with showing() as emit:
        written = mask_folder(request, emit)
    stay = "" if overwrite else "; those that were there stay (--overwrite draws them anew)"
    say(f"{counted(len(written), 'mask')} drawn{stay}")
    for path in written:
        give(str(path))
