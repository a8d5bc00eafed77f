"""Owns the page of a check: one file with all of it inside, no script, nothing fetched, names and captions escaped."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from lorasmith.checking.crops import Crop
from lorasmith.checking.findings import TITLES, Kind, Verdict
from lorasmith.checking.report import CheckReport, PictureReport
from lorasmith.checking.small_pictures import data_address
from lorasmith.data.wording import counted, shown

MARK = "lorasmith-check"
"""Stands at the head of every page, so that a file that is none is never written over."""
_MOST_CARDS = 150
"""Pictures shown of each verdict; a page of all 20,000 would be gigabytes."""
_MOST_GROUPS, _MOST_IN_A_GROUP = 40, 8

_HEADINGS: Mapping[Verdict, tuple[str, str]] = {
    "leave_out": ("Leave out", "Training with --leave-out and this report goes on without these."),
    "look": ("Look at", "Something about these may not be meant. They are trained on unless you take them out."),
    "keep": ("Keep", "Nothing speaks against these."),
}


@dataclass(frozen=True)
class Line:
    """One finding of a picture."""

    title: str
    weight: str
    reason: str
    remedy: str


@dataclass(frozen=True)
class Card:
    """One picture on the page; `address` is None when it cannot be shown, `crop` in percent of its sides."""

    name: str
    address: str | None
    facts: str
    caption: str | None
    crop: Mapping[str, str] | None
    lines: Sequence[Line]


@dataclass(frozen=True)
class Part:
    """The pictures of one verdict: those shown, and how many are not."""

    verdict: Verdict
    heading: str
    meaning: str
    cards: Sequence[Card]
    count: int
    unshown: Sequence[str]


def render(report: CheckReport, folder: Path, *, pixel_limit: int) -> str:
    """The page as HTML; the pictures are read from `folder` once more, in small."""
    environment = Environment(
        loader=PackageLoader("lorasmith.checking"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    small = _Thumbnails(folder, pixel_limit)
    largest = max((bucket.pictures for bucket in report.buckets), default=1)
    return environment.get_template("check.html.j2").render(
        mark=MARK,
        name=shown(folder.resolve().name or str(folder)),
        report=report,
        tiles=_tiles(report),
        kinds=_kinds(report),
        folder_findings=[Line(TITLES[one.kind], one.weight, one.reason, one.remedy) for one in report.findings],
        groups=_groups(report, small),
        unshown_groups=max(0, len(report.duplicates) - _MOST_GROUPS),
        parts=[_part(report, verdict, small) for verdict in _HEADINGS],
        buckets=[(str(one.size), one.pictures, 100 * one.pictures / largest) for one in report.buckets],
    )


class _Thumbnails:
    """Pictures in small by id, each read once."""

    def __init__(self, folder: Path, pixel_limit: int) -> None:
        self._folder = folder
        self._pixel_limit = pixel_limit
        self._read: dict[str, str | None] = {}

    def of(self, id: str) -> str | None:
        """The picture's data address; None when it cannot be read."""
        if id not in self._read:
            self._read[id] = data_address(self._folder / id, pixel_limit=self._pixel_limit)
        return self._read[id]


def _tiles(report: CheckReport) -> Iterator[tuple[str, str, str]]:
    yield "all", str(len(report.pictures)), "picture" if len(report.pictures) == 1 else "pictures"
    yield "keep", str(len(report.with_verdict("keep"))), "to keep"
    yield "look", str(len(report.with_verdict("look"))), "to look at"
    yield "leave_out", str(len(report.with_verdict("leave_out"))), "to leave out"


def _kinds(report: CheckReport) -> list[tuple[str, str, int]]:
    """Each kind that was found of pictures, with its gravest weight and how often; the gravest first."""
    grave = {"note": 0, "look": 1, "leave_out": 2}
    found = [finding for picture in report.pictures for finding in picture.findings]
    counts = Counter(finding.kind for finding in found)
    weights: dict[Kind, str] = {}
    for finding in found:
        weights[finding.kind] = max(weights.get(finding.kind, "note"), finding.weight, key=grave.__getitem__)
    order = sorted(counts, key=lambda kind: (-grave[weights[kind]], -counts[kind], kind))
    return [(TITLES[kind], weights[kind], counts[kind]) for kind in order]


def _groups(report: CheckReport, small: _Thumbnails) -> list[list[tuple[str, str | None]]]:
    return [
        [(shown(id), small.of(id)) for id in group[:_MOST_IN_A_GROUP]] for group in report.duplicates[:_MOST_GROUPS]
    ]


def _part(report: CheckReport, verdict: Verdict, small: _Thumbnails) -> Part:
    pictures = report.with_verdict(verdict)
    heading, meaning = _HEADINGS[verdict]
    cards = [_card(one, small) for one in pictures[:_MOST_CARDS]]
    unshown = [shown(one.id) for one in pictures[_MOST_CARDS : 20 * _MOST_CARDS]]
    return Part(verdict, heading, meaning, cards, len(pictures), unshown)


def _card(picture: PictureReport, small: _Thumbnails) -> Card:
    return Card(
        name=shown(picture.id),
        address=small.of(picture.id) if picture.size else None,
        facts=_facts(picture),
        caption=shown(picture.caption, limit=400) if picture.caption else None,
        crop=_percent(picture.crop) if picture.crop and picture.crop.lost > 0.005 else None,
        lines=[Line(TITLES[one.kind], one.weight, one.reason, one.remedy) for one in picture.findings],
    )


def _facts(picture: PictureReport) -> str:
    faces = None if picture.faces is None else counted(picture.faces, "face")
    return " · ".join(fact for fact in (str(picture.size) if picture.size else None, picture.format, faces) if fact)


def _percent(crop: Crop) -> Mapping[str, str]:
    """Where the crop lies, as a style sheet says it."""
    return {
        "top": f"{100 * crop.top:.2f}%",
        "left": f"{100 * crop.left:.2f}%",
        "width": f"{100 * (crop.right - crop.left):.2f}%",
        "height": f"{100 * (crop.bottom - crop.top):.2f}%",
    }
