"""Owns `lorasmith verify`: reads exported files back and says what they hold; repairs nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lorasmith.cli.talk import give
from lorasmith.data.wording import spread
from lorasmith.errors import ConfigError, DataError, Problem

if TYPE_CHECKING:
    from lorasmith.export.verify import FileReport


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("verify")(verify)


def verify(
    source: Annotated[Path, typer.Argument(metavar="RUN|FILE", help="A run folder, an export folder or one file.")],
) -> None:
    """Read exported files back and say what they hold; of one file, also what each program makes of it."""
    # Lazy, because torch takes seconds and --help must not wait for it.
    from lorasmith.export.verify import inspect_file

    reports = [inspect_file(path) for path in _files(source)]
    for report in reports:
        give(_line(report))
    if source.is_file():
        for line in _program_lines(source):
            give(line)
    problems = [Problem(problem, str(report.path), _REMEDY) for report in reports for problem in report.problems]
    if problems:
        raise DataError.of(problems)


_REMEDY = "Do not use this file; export again, or go back to an earlier checkpoint."


def _files(source: Path) -> tuple[Path, ...]:
    """The weights files of a run or an export, once its manifest's promises are checked; or the one file."""
    if source.is_file():
        return (source,)
    if not source.is_dir():
        raise ConfigError(f"there is no file or folder {source}", remedy="Name a run folder or an exported file.")
    from lorasmith.export_manifest import is_export_folder, read_manifest

    folder = source if is_export_folder(source) else source / "export"
    read_manifest(folder)
    return tuple(sorted(folder.glob("*.safetensors")))


def _program_lines(path: Path) -> Iterator[str]:
    """A line for each program, and the reasons of those that read it otherwise or not."""
    from lorasmith.formats.cog_archive import is_archive_file
    from lorasmith.formats.opening import open_weights
    from lorasmith.formats.readings import readings

    if is_archive_file(path):
        yield "  the archive is for cog-sdxl alone; programs read the lora.safetensors in it:"
    said = {"whole": "reads it whole", "different": "reads it with a difference", "not": "does not read it"}
    for reading in readings(open_weights(path)):
        reasons = "; ".join(reading.reasons)
        yield f"  {reading.program:<9} {said[reading.verdict]}{f': {reasons}' if reasons else ''}"


def _line(report: "FileReport") -> str:
    verdict = "BROKEN" if report.problems else "ok"
    return f"{verdict:<6} {report.path.name}: {', '.join(_facts(report))}"


def _facts(report: "FileReport") -> Iterator[str]:
    yield f"{report.format} format"
    if report.kind is not None:
        yield f"{report.kind} rank {spread(report.ranks)}, alpha {spread(report.alphas)}"
    yield from (f"{count} layers of {part}" for part, count in report.layers.items() if count)
    if report.new_tokens:
        yield f"{report.new_tokens} new tokens"
    if report.layers_without_effect:
        yield f"{report.layers_without_effect} layers without effect"
