"""Owns the report on merges: one page with everything in it, no script, nothing fetched, every word escaped."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from lorasmith import __version__
from lorasmith.atomic import write_text
from lorasmith.errors import ConfigError
from lorasmith.reports.thumbnails import address_of
from lorasmith.reports.wording import joined

_MARK: Final = '<meta name="generator" content="lorasmith merge">'
"""In the head of each page, so that the next one knows what it may replace."""


@dataclass(frozen=True)
class Candidate:
    """A column of the page: the base, a parent or a merge; what is known of it in words and numbers.

    `distances` are to each parent, `shares` of pictures in which something is right, in the page's order.
    """

    label: str
    facts: str = ""
    distances: Sequence[float] = ()
    shares: Sequence[float] = ()


@dataclass(frozen=True)
class PictureRow:
    """One prompt, and each candidate's pictures for it, in the candidates' order; `right` where a reader knows."""

    prompt: str
    pictures: Sequence[Sequence[Image.Image]]
    right: Sequence[Sequence[bool | None]] = ()


@dataclass(frozen=True)
class MergeReport:
    """All that the page shows. `share_names` are what was read in the pictures, `notes` what a reader has to know."""

    title: str
    parents: Sequence[str]
    candidates: Sequence[Candidate]
    rows: Sequence[PictureRow]
    share_names: Sequence[str] = ()
    read_by: str = ""
    notes: Sequence[str] = ()
    words: Sequence[str] = field(default_factory=tuple[str, ...])


@dataclass(frozen=True)
class _Shown:
    """A picture in the page and what was read in it."""

    address: str
    verdict: bool | None


def write_report(report: MergeReport, path: Path) -> Path:
    """Write the page; refuses to replace a file that is not such a page."""
    refuse_foreign(path)
    write_text(path, render(report))
    return path


def refuse_foreign(path: Path) -> None:
    """ConfigError when `path` is a file that somebody else wrote."""
    if path.is_dir() or (path.exists() and _MARK.encode() not in path.read_bytes()[:2000]):
        raise ConfigError(f"{path} is not a report of ours", where="report", remedy="Name another file.")


def render(report: MergeReport) -> str:
    """The page as HTML."""
    environment = Environment(
        loader=PackageLoader("lorasmith.merging"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("merge.html.j2").render(
        mark=Markup(_MARK),
        report=report,
        parents=joined(report.parents),
        rows=[(row.prompt, _shown(row)) for row in report.rows],
        version=__version__,
    )


def _shown(row: PictureRow) -> list[list[_Shown]]:
    """Each candidate's pictures."""
    verdicts = row.right or [[None] * len(pictures) for pictures in row.pictures]
    return [
        [_Shown(address_of(picture), verdict) for picture, verdict in zip(pictures, right, strict=True)]
        for pictures, right in zip(row.pictures, verdicts, strict=True)
    ]
