"""Owns checking a folder of pictures and captions before it is trained on; changes no file of the user's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lorasmith import __version__
from lorasmith.atomic import write_json, write_text
from lorasmith.checking.advice import Faces, advice_for
from lorasmith.checking.caption_findings import CaptionWants, caption_findings
from lorasmith.checking.crops import Crop, bucket_table, crop_of
from lorasmith.checking.examine import Examination, content_hash, examine
from lorasmith.checking.faces import INSTALL, FaceDetector, face_detector
from lorasmith.checking.findings import Finding, verdict_of
from lorasmith.checking.folder import Contents, contents_of
from lorasmith.checking.folder_findings import folder_findings
from lorasmith.checking.kept import kept_examinations
from lorasmith.checking.page import MARK, render
from lorasmith.checking.picture_findings import face_findings, picture_findings
from lorasmith.checking.report import FORMAT, CheckReport, Concept, PictureReport, as_data
from lorasmith.checking.sameness import sameness_of
from lorasmith.checking.twins import Candidate, twins_among
from lorasmith.config.train import TrainConfig
from lorasmith.data.buckets import targets_of
from lorasmith.data.cache import default_cache_folder
from lorasmith.data.decode import colour_of
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Emit, WorkDone, ignore
from lorasmith.models.long_prompts import LongPrompt, long_prompt
from lorasmith.models.sdxl import bundled, cost
from lorasmith.models.sdxl.components import locate_base
from lorasmith.models.sdxl.text import open_tokenizer
from lorasmith.sizes import Size
from lorasmith.tokens.attach import add_to_tokenizer
from lorasmith.training.assemble import vocabulary_of

SDXL_RESOLUTION = 1024
"""What pictures are judged by while nobody has named a base or a resolution."""


@dataclass(frozen=True)
class CheckWish:
    """What a check is asked for besides the config it checks for."""

    concept: Concept = "object"
    base_is_named: bool = False
    """Whether the config's base is the user's: then its size and its tokenizer count, else SDXL's."""
    face_weights: Path | None = None
    """YuNet's ONNX file."""
    keep_results: bool = True
    """Keep what was measured on disk, so that the next check of the same pictures takes seconds."""


@dataclass(frozen=True)
class _Seen:
    """One picture's file: its bytes' hash, and what was found in them."""

    content: str | None
    examination: Examination


def check(config: TrainConfig, wish: CheckWish | None = None, emit: Emit = ignore) -> CheckReport:
    """Look at all pictures and captions of `data.instance_images`, as a run with this config would take them.

    Whatever is wrong with a picture is in the report; DataError only when there is no folder, or no picture in it.
    """
    wish = wish or CheckWish()
    folder = _folder_of(config)
    contents = contents_of(folder, caption_column=config.data.caption_column)
    if not contents.paths:
        raise DataError(
            f"the folder {shown(folder)} has no pictures in it", remedy="Put jpg, png, webp or bmp files into it."
        )
    detector = face_detector(wish.face_weights) if wish.concept in ("face", "character") else None
    seen = _examined(contents, config, wish, detector, emit)
    return _report(config, wish, contents, seen)


def results_file(config: TrainConfig) -> Path:
    """Where measured numbers are kept, by content."""
    named = config.data.cache_folder
    beside = default_cache_folder().parent if named is None else named.expanduser()
    return beside / "checks" / "examined.sqlite"


def _folder_of(config: TrainConfig) -> Path:
    colour_of(config.data.background)
    if config.data.instance_images is None:
        raise ConfigError(
            "no folder was named", where="data.instance_images", remedy="Give it: `lorasmith check FOLDER`."
        )
    return config.data.instance_images.expanduser()


def _examined(
    contents: Contents, config: TrainConfig, wish: CheckWish, detector: FaceDetector | None, emit: Emit
) -> dict[str, _Seen]:
    """Each picture's examination, from what is kept where its bytes were seen before."""
    data = config.data
    settings = (data.background, data.pixel_limit, detector.name if detector else None, str(wish.face_weights))
    look = partial(examine, background=data.background, pixel_limit=data.pixel_limit, detector=detector)
    found: dict[str, _Seen] = {}
    with kept_examinations(results_file(config) if wish.keep_results else None, settings=settings) as kept:
        for number, (id, path) in enumerate(contents.paths.items(), start=1):
            content = content_hash(path)
            found[id] = _Seen(content, look(path) if content is None else kept.get_or(content, partial(look, path)))
            emit(WorkDone("checking pictures", number, len(contents.paths)))
    return found


def _report(config: TrainConfig, wish: CheckWish, contents: Contents, seen: Mapping[str, _Seen]) -> CheckReport:
    resolution, targets = _targets(config, wish)
    findings = _findings(config, wish, contents, seen, targets)
    twins = twins_among(_candidates(seen, findings))
    for id, finding in twins.findings.items():
        findings[id].append(finding)
    pictures = tuple(_picture(id, contents, seen[id], findings[id], targets) for id in contents.paths)
    usable = [seen[one.id].examination for one in pictures if one.verdict != "leave_out"]
    sameness = sameness_of([one.measures for one in usable if one.measures is not None])
    return CheckReport(
        format=FORMAT,
        lorasmith=__version__,
        folder=str(_folder_of(config)),
        concept=wish.concept,
        resolution=resolution,
        pictures=pictures,
        findings=folder_findings(contents, sameness, concept=wish.concept, prompt=config.data.instance_prompt),
        advice=advice_for(wish.concept, pictures, sameness, _faces(usable)),
        buckets=tuple(bucket_table(one.crop for one in pictures if one.crop is not None)),
        duplicates=twins.groups,
        notices=_not_looked_at(wish, usable),
    )


def _targets(config: TrainConfig, wish: CheckWish) -> tuple[int, tuple[Size, ...]]:
    """The resolution pictures are judged by, and the sizes they are cut to."""
    resolution = config.data.resolution or _native(config, wish)
    return resolution, targets_of(resolution, buckets=config.data.buckets)


def _native(config: TrainConfig, wish: CheckWish) -> int:
    if not wish.base_is_named:
        return SDXL_RESOLUTION
    return cost.native_size(locate_base(config.model, with_weights=False)).height


def _findings(
    config: TrainConfig, wish: CheckWish, contents: Contents, seen: Mapping[str, _Seen], targets: Sequence[Size]
) -> dict[str, list[Finding]]:
    """What is to be said of each picture by itself and of its caption."""
    found = {id: picture_findings(contents.paths[id], one.examination, _crop(one, targets)) for id, one in seen.items()}
    for id, one in seen.items():
        if one.examination.faces is not None:
            found[id] += face_findings(one.examination.faces, is_about_a_face=wish.concept == "face")
    for id, of_caption in caption_findings(contents.said, _caption_wants(config, wish)).items():
        found[id] += of_caption
    return found


def _crop(seen: _Seen, targets: Sequence[Size]) -> Crop | None:
    return None if seen.examination.size is None else crop_of(seen.examination.size, targets)


def _caption_wants(config: TrainConfig, wish: CheckWish) -> CaptionWants:
    vocabulary = vocabulary_of(config)
    tokenizer = open_tokenizer(locate_base(config.model, with_weights=False)) if wish.base_is_named else None
    tokenizer = tokenizer or bundled.tokenizers().first
    add_to_tokenizer(tokenizer, vocabulary.tokens, rows_in_table=len(tokenizer))

    def unread_of(caption: str) -> LongPrompt | None:
        return long_prompt(tokenizer, vocabulary.expand(caption))

    return CaptionWants(
        prompt=config.data.instance_prompt,
        abstractions=config.tokens.abstractions if config.tokens.enabled else (),
        unread_of=unread_of,
        reads_in_chunks=config.text.long_prompts == "chunks",
    )


def _candidates(seen: Mapping[str, _Seen], findings: Mapping[str, Sequence[Finding]]) -> list[Candidate]:
    return [
        Candidate(id, one.content, one.examination.size, one.examination.measures, _flaws(findings[id]))
        for id, one in seen.items()
        if one.content and one.examination.size and one.examination.measures
    ]


def _flaws(findings: Sequence[Finding]) -> int:
    """Two for each reason to leave a picture out, one for each to look at it."""
    return sum({"note": 0, "look": 1, "leave_out": 2}[finding.weight] for finding in findings)


def _picture(
    id: str, contents: Contents, seen: _Seen, findings: Sequence[Finding], targets: Sequence[Size]
) -> PictureReport:
    looked = seen.examination
    return PictureReport(
        id=id,
        verdict=verdict_of(findings),
        findings=tuple(findings),
        caption=contents.said[id].caption,
        content=seen.content,
        size=looked.size,
        format=looked.facts.format if looked.facts else None,
        crop=_crop(seen, targets),
        edge_width=looked.measures.edge_width if looked.measures else None,
        faces=None if looked.faces is None else len(looked.faces),
    )


def _faces(usable: Sequence[Examination]) -> Faces | None:
    looked = [one.faces for one in usable if one.faces is not None]
    return Faces(tuple(heights[0] if heights else None for heights in looked)) if looked else None


def _not_looked_at(wish: CheckWish, usable: Sequence[Examination]) -> tuple[str, ...]:
    """What the report does not say, so that silence is not taken for praise."""
    if wish.concept not in ("face", "character") or _faces(usable) is not None:
        return ()
    return (f"Nobody looked for faces: OpenCV is not installed, or has no detector of its own ({INSTALL}).",)


@dataclass(frozen=True)
class Written:
    """Where a report is."""

    page: Path
    data: Path


def refuse_other_files(page: Path) -> None:
    """ConfigError if the report would be written over a file that is no report, or its name says nothing of a page."""
    if page.suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"the report {shown(page)} is a page", where="--report", remedy="Give a name that ends in .html."
        )
    for file in (page, page.with_suffix(".json")):
        if file.exists() and not _is_a_report(file):
            raise ConfigError(
                f"{shown(file)} is there already, and is no report of a check", where="--report",
                remedy="Choose another name: nothing of yours is written over.",
            )  # fmt: skip


def write_report(report: CheckReport, page: Path, config: TrainConfig) -> Written:
    """Write the page, and the JSON that training obeys beside it."""
    refuse_other_files(page)
    data = page.with_suffix(".json")
    html = render(report, Path(report.folder), pixel_limit=config.data.pixel_limit)
    write_json(data, as_data(report))
    write_text(page, html)
    return Written(page, data)


def _is_a_report(file: Path) -> bool:
    with file.open("rb") as opened:
        return MARK.encode() in opened.read(200)
