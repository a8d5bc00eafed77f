"""Owns `lorasmith check`: looks at a folder before it is trained on and writes what it found; changes none of it."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, get_args

import typer

from lorasmith.cli.talk import give, give_exactly, say, tell_notice
from lorasmith.config.load import Loaded, load_arguments
from lorasmith.config.train import OwnRecipe
from lorasmith.errors import ConfigError

if TYPE_CHECKING:
    from lorasmith.checking.report import CheckReport, PictureReport

_OWN_FLAGS = ("--concept", "--report", "--json", "--face-weights", "--anew", "--debug", "--help")
_DEFAULT_REPORT = Path("lorasmith-check.html")
_MOST_LINES = 60

Words = Annotated[
    list[str] | None, typer.Argument(metavar="DIR [FILES.toml] [OPTIONS]", help="The folder, then as for train.")
]


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("check", context_settings={"ignore_unknown_options": True})(check)


def check(
    words: Words = None,
    *,
    concept: Annotated[
        Literal["object", "style", "character", "face"] | None,
        typer.Option(help="What is to be learnt; without it the recipe's, or an object."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="The page to write, its JSON beside it; else lorasmith-check.html here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the report as JSON; a page only with --report.")
    ] = False,
    face_weights: Annotated[Path | None, typer.Option(help="YuNet's ONNX file, to find faces with.")] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Measure every picture again.")] = False,
) -> None:
    """Look at a folder of pictures and captions before training on it."""
    loaded = _loaded(words or [])
    page = report or (None if as_json else _DEFAULT_REPORT)
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.cli.progress_bar import showing
    from lorasmith.runs.check import CheckWish, refuse_other_files, write_report
    from lorasmith.runs.check import check as look

    if page is not None:
        refuse_other_files(page)
    wish = CheckWish(
        concept=concept or _concept_of(loaded),
        base_is_named=str(loaded.origins["model.base"]) != "default",
        face_weights=face_weights,
        keep_results=not anew,
    )
    with showing() as emit:
        found = look(loaded.config, wish, emit)
    written = None if page is None else write_report(found, page, loaded.config)
    if as_json:
        from lorasmith.checking.report import as_data

        give_exactly(json.dumps(as_data(found), indent=2))
        return
    for line in _lines(found):
        give(line)
    say(_summary(found))
    if written is not None:
        say(f"Page: {written.page}; to train without what is to be left out: --leave-out {written.data}")


def _loaded(words: Sequence[str]) -> Loaded:
    """The config that the words after the folder say, on that folder."""
    if not words or words[0].startswith("-"):
        raise ConfigError("no folder was named", where="command line", remedy="Name it first: lorasmith check FOLDER.")
    folder, *others = words
    loaded = load_arguments([*others, f"--data.instance-images={folder}"], also_known=_OWN_FLAGS)
    for notice in loaded.notices:
        tell_notice(notice)
    return loaded


def _concept_of(loaded: Loaded) -> Literal["object", "style", "character", "face"]:
    recipe = loaded.config.recipe
    for concept in get_args(OwnRecipe):
        if recipe == concept:
            return concept
    return "object"


def _lines(report: "CheckReport") -> Iterator[str]:
    """What was found, the gravest first, one line each."""
    lines = [
        *(f"folder     {finding.reason}" for finding in report.findings),
        *(line for verdict in ("leave_out", "look") for one in report.with_verdict(verdict) for line in _of(one)),
    ]
    yield from lines[:_MOST_LINES]
    if len(lines) > _MOST_LINES:
        yield f"… and {len(lines) - _MOST_LINES} more, in the report"


def _of(picture: "PictureReport") -> Iterator[str]:
    from lorasmith.checking.findings import TITLES
    from lorasmith.data.wording import shown

    verdict = "leave out" if picture.verdict == "leave_out" else "look"
    for finding in picture.findings:
        if finding.weight != "note":
            yield f"{verdict:<10} {shown(picture.id)}: {TITLES[finding.kind]}: {finding.reason}"


def _summary(report: "CheckReport") -> str:
    keep, look, out = (len(report.with_verdict(verdict)) for verdict in ("keep", "look", "leave_out"))
    return f"{len(report.pictures)} pictures: {keep} to keep, {look} to look at, {out} to leave out"
