"""Owns what a check says: one report, as JSON that programs read and `train --leave-out` obeys; draws no page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from lorasmith.checking.crops import Bucket, Crop
from lorasmith.checking.findings import Finding, FolderFinding, Verdict
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.sizes import Size

FORMAT = "lorasmith-check-1"

Concept = Literal["object", "style", "character", "face"]
Standing = Literal["good", "look", "unknown"]


@dataclass(frozen=True)
class PictureReport:
    """What is known of one picture. `id` is its path inside the folder, as training names it."""

    id: str
    verdict: Verdict
    findings: tuple[Finding, ...]
    caption: str | None
    """Its own caption; None where it takes the prompt for all."""
    content: str | None
    """SHA-256 of the file's bytes; None when it cannot be opened."""
    size: Size | None
    """Upright height and width in pixels."""
    format: str | None
    crop: Crop | None
    edge_width: float | None
    """Blur over its sharpest edges in pixels, at a short side of 512."""
    faces: int | None = None
    """How many faces were found; None where nobody looked."""


@dataclass(frozen=True)
class Advice:
    """One thing that the article advises for this kind of concept, against what is there."""

    topic: str
    advised: str
    there: str
    standing: Standing


@dataclass(frozen=True)
class CheckReport:
    """Everything that was found in a folder."""

    format: Literal["lorasmith-check-1"]
    lorasmith: str
    """The version that wrote it."""
    folder: str
    concept: Concept
    resolution: int
    pictures: tuple[PictureReport, ...]
    findings: tuple[FolderFinding, ...]
    advice: tuple[Advice, ...]
    buckets: tuple[Bucket, ...]
    duplicates: tuple[tuple[str, ...], ...]
    """Groups of pictures that show the same, by id; the one that is kept stands first."""
    notices: tuple[str, ...] = ()
    """What was not looked at, and why."""

    def with_verdict(self, verdict: Verdict) -> tuple[PictureReport, ...]:
        """The pictures with this verdict, in order of their names."""
        return tuple(one for one in self.pictures if one.verdict == verdict)

    @property
    def left_out(self) -> tuple[str, ...]:
        """Ids of the pictures that training leaves out when it is given this report."""
        return tuple(one.id for one in self.with_verdict("leave_out"))


_REPORT = TypeAdapter(CheckReport)


def as_data(report: CheckReport) -> dict[str, Any]:
    """The report as plain JSON data."""
    return _REPORT.dump_python(report, mode="python") | {"left_out": list(report.left_out)}


def json_schema() -> Mapping[str, Any]:
    """The JSON schema of the report."""
    return _REPORT.json_schema()


def read_left_out(file: Path) -> tuple[str, ...]:
    """The ids that a report says to leave out; raises DataError for anything but a whole report."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"the report {shown(file)} cannot be read: {shown(str(error))}", where="data.leave_out"
        ) from error
    try:
        return _LEFT_OUT.validate_json(text).ids
    except ValidationError as error:
        raise DataError(
            f"{shown(file)} is not a report of `lorasmith check`", where="data.leave_out",
            remedy="Give what `lorasmith check DIR --json` wrote.",
        ) from error  # fmt: skip


@dataclass(frozen=True)
class _Line:
    """What training needs of a picture's report."""

    id: str
    verdict: Verdict


@dataclass(frozen=True)
class _LeftOut:
    """What training needs of a report; everything else in it may change."""

    format: Literal["lorasmith-check-1"]
    pictures: tuple[_Line, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        return tuple(one.id for one in self.pictures if one.verdict == "leave_out")


_LEFT_OUT = TypeAdapter(_LeftOut)
