"""Owns `lorasmith generate`: pictures with a concept and without it, side by side; trains nothing."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from lorasmith.atomic import naming_write_failures
from lorasmith.config.text import LongPrompts, TextConfig
from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError, DataError, Problem
from lorasmith.events import Emit, Notice, WorkDone, ignore
from lorasmith.export_manifest import ExportManifest
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw, native_size
from lorasmith.inference.exports import load_concept, vocabulary_of
from lorasmith.inference.grids import SheetRow, contact_sheet
from lorasmith.inference.pipeline import open_pipeline, text_reader
from lorasmith.inference.png import PictureParameters, save_png
from lorasmith.models.long_prompts import long_prompt
from lorasmith.models.sdxl.text import check_clip_skip
from lorasmith.runs.export_source import ExportSource, find_export
from lorasmith.sizes import Size
from lorasmith.training.precision import resolve_device, resolve_precision

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

_MANY_PIXELS = 512 * 512
"""From this size on pictures are drawn one at a time: memory, not speed, is what runs out."""


@dataclass(frozen=True)
class GenerateRequest:
    """What to draw. `source` is a run folder or an export folder; None means the export's or the base's own value."""

    source: Path
    prompt: str
    negative_prompt: str = ""
    count: int = 4
    seed: int = 0
    scale: float | None = None
    steps: int = 25
    guidance: float = 5.0
    size: Size | None = None
    side_by_side: bool = True
    out: Path | None = None
    base: str | None = None
    device: str = "auto"
    clip_skip: int | None = None
    long_prompts: LongPrompts | None = None

    def reading(self, manifest: ExportManifest) -> TextConfig:
        """How prompts are read: as asked, else as in training."""
        skip = manifest.clip_skip if self.clip_skip is None else self.clip_skip
        return TextConfig(clip_skip=skip, long_prompts=self.long_prompts or manifest.long_prompts)


@dataclass(frozen=True)
class GenerateResult:
    """Files written: pictures with the concept, the same seeds without it (if asked for), and the sheet of both."""

    folder: Path
    pictures: tuple[Path, ...]
    without: tuple[Path, ...]
    sheet: Path


def generate(request: GenerateRequest, emit: Emit = ignore) -> GenerateResult:
    """Draw `count` pictures from seeds `seed`, `seed + 1`, …, and write them with their parameters and a sheet.

    ConfigError for wrong options, DataError or HubError for an export or a base that cannot be used.
    """
    _check(request)
    _refuse_taken(request)
    source = find_export(request.source, base=request.base)
    _notice_missing_words(request, source.manifest, emit)
    pipeline = _open(request, source)
    reading = request.reading(source.manifest)
    check_clip_skip(reading.clip_skip, text_reader(pipeline, reading).layers, where="clip_skip")
    with_concept, without = _draw_both(pipeline, request, source, emit)
    return _write(_Drawing(request, source, request.size or native_size(pipeline)), with_concept, without)


def _check(request: GenerateRequest) -> None:
    """Refuse values that cannot be drawn with, all in one report."""
    wrong = [
        (request.prompt.strip() == "", "the prompt is empty", "prompt", "Say what to draw, such as `a photo of TOK`."),
        (request.count < 1, f"{request.count} pictures were asked for", "count", "Ask for one or more."),
        (request.steps < 1, f"{request.steps} sampling steps draw nothing", "steps", "Use 20 to 50."),
        (
            request.clip_skip is not None and not 0 <= request.clip_skip <= 30,
            f"the clip skip {request.clip_skip} is out of bounds",
            "clip_skip",
            "Leave it out for the export's own.",
        ),
        (request.seed < 0, f"the seed {request.seed} is negative", "seed", "Use 0 or more."),
        (
            not (math.isfinite(request.guidance) and request.guidance >= 0),
            f"the guidance {request.guidance} is not a positive number",
            "guidance",
            "Use 3 to 8.",
        ),
        (
            request.scale is not None and not (math.isfinite(request.scale) and abs(request.scale) <= 4),
            f"the scale {request.scale} is out of bounds",
            "scale",
            "Use about 0.5 to 1.2.",
        ),
        (
            request.size is not None and any(side % 8 or not 8 <= side <= 4096 for side in request.size),
            f"the size {request.size} is not made of multiples of 8 up to 4096",
            "size",
            "Use the base's own size, or near it.",
        ),
    ]
    problems = [Problem(what, where, remedy) for is_wrong, what, where, remedy in wrong if is_wrong]
    if problems:
        raise ConfigError.of(problems)


def _open(request: GenerateRequest, source: ExportSource) -> "StableDiffusionXLPipeline":
    device = resolve_device(request.device, where="device")
    try:
        return open_pipeline(source.model, device=device, dtype=resolve_precision("auto", device).dtype)
    except DataError as missing:
        if request.base is not None:
            raise
        raise DataError(
            f"the base the concept was trained on cannot be opened: {missing.problems[0].what}",
            where=str(source.export),
            remedy="Name it with --base: `embedded`, a folder in the diffusers layout, a .safetensors checkpoint, "
            "or a hub id.",
        ) from missing


def _notice_missing_words(request: GenerateRequest, manifest: ExportManifest, emit: Emit) -> None:
    vocabulary = vocabulary_of(manifest)
    if vocabulary.abstractions and not vocabulary.is_mentioned_in(request.prompt):
        words = " nor ".join(manifest.abstractions)
        emit(Notice(f"The prompt does not name {words}, so the concept may not show; put {words} where it belongs."))


def _draw_both(
    pipeline: "StableDiffusionXLPipeline", request: GenerateRequest, source: ExportSource, emit: Emit
) -> tuple[list[Image.Image], list[Image.Image]]:
    """Pictures with the concept and without it. The base draws first, untouched: a scale of 0 would not undo a DoRA."""
    total = request.count * (2 if request.side_by_side else 1)
    requests = _draw_requests(request, source.manifest)
    area = math.prod(request.size or native_size(pipeline))
    batch_size = 1 if area >= _MANY_PIXELS else 4
    without = list[Image.Image]()
    if request.side_by_side:
        plain = [replace(each, settings=replace(each.settings, scale=1.0)) for each in requests]
        without = draw(pipeline, plain, batch_size=batch_size, on_picture=lambda done: emit(_work(done, total)))
    vocabulary = load_concept(pipeline, source.export)
    expand = vocabulary.expand
    if request.reading(source.manifest).long_prompts == "cut":
        _notice_what_is_cut(pipeline, [expand(request.prompt), expand(request.negative_prompt)], emit)
    written_out = [
        replace(each, prompt=expand(each.prompt), negative_prompt=expand(each.negative_prompt)) for each in requests
    ]
    first = len(without)
    drawn = draw(pipeline, written_out, batch_size=batch_size, on_picture=lambda done: emit(_work(first + done, total)))
    return drawn, without


def _notice_what_is_cut(pipeline: "StableDiffusionXLPipeline", prompts: Sequence[str], emit: Emit) -> None:
    for prompt in prompts:
        long = long_prompt(pipeline.tokenizer, prompt)
        if long is not None:
            unread = f'{counted(long.unread, "token")} of the prompt are not read: "{shown(long.unread_text)}"'
            emit(Notice(f"The last {unread}; --long-prompts chunks reads them."))


def _work(done: int, total: int) -> WorkDone:
    return WorkDone("drawing pictures", done, total)


def _draw_requests(request: GenerateRequest, manifest: ExportManifest) -> list[DrawRequest]:
    settings = DrawSettings(
        request.steps, request.guidance, _scale(request, manifest), request.size, request.reading(manifest)
    )
    seeds = range(request.seed, request.seed + request.count)
    return [DrawRequest(request.prompt, seed, request.negative_prompt, settings) for seed in seeds]


def _scale(request: GenerateRequest, manifest: ExportManifest) -> float:
    return manifest.recommended_scale if request.scale is None else request.scale


def _refuse_taken(request: GenerateRequest) -> None:
    """Refuse, before any work, a folder that already holds pictures of ours."""
    taken = [name for name in _file_names(request) if request.out is not None and (request.out / name).exists()]
    if taken:
        raise ConfigError(
            f"{request.out} already holds {taken[0]}", where="out", remedy="Choose another folder for the pictures."
        )


def _output_folder(request: GenerateRequest, source: ExportSource) -> Path:
    """The folder that was named, else a new numbered one such as `generated/0003-a-photo-of-tok`."""
    home = source.run.generated if source.run else Path("generated")
    folder = request.out or home / _numbered_name(home, request.prompt)
    with naming_write_failures(folder):
        folder.mkdir(parents=True, exist_ok=request.out is not None)
    return folder


def _numbered_name(home: Path, prompt: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", prompt.lower()).strip("-")[:40].rstrip("-")
    names = [entry.name for entry in home.iterdir()] if home.is_dir() else []
    taken = [int(name[:4]) for name in names if re.match(r"[0-9]{4}", name)]
    return "-".join(filter(None, (f"{max(taken, default=0) + 1:04d}", words)))


def _file_names(request: GenerateRequest) -> list[str]:
    seeds = range(request.seed, request.seed + request.count)
    without = [_name_without(seed) for seed in seeds] if request.side_by_side else []
    return [*[_name_with(seed) for seed in seeds], *without, "sheet.png"]


def _name_with(seed: int) -> str:
    return f"seed-{seed}.png"


def _name_without(seed: int) -> str:
    return f"seed-{seed}-without.png"


@dataclass(frozen=True)
class _Drawing:
    """All that the written files tell of how they were drawn."""

    request: GenerateRequest
    source: ExportSource
    size: Size


def _write(drawing: _Drawing, drawn: Sequence[Image.Image], without: Sequence[Image.Image]) -> GenerateResult:
    request, manifest = drawing.request, drawing.source.manifest
    requests = _draw_requests(request, manifest)
    scale = _scale(request, manifest)
    folder = _output_folder(request, drawing.source)
    pictures, plain = list[Path](), list[Path]()
    for picture, each in zip(drawn, requests, strict=True):
        pictures.append(folder / _name_with(each.seed))
        save_png(picture, pictures[-1], _parameters(drawing, each, {"Lora scale": f"{scale:g}"}))
    for picture, each in zip(without, requests, strict=False):
        plain.append(folder / _name_without(each.seed))
        save_png(picture, plain[-1], _parameters(drawing, each, {}))
    words = " and ".join(manifest.abstractions) or "the concept"
    rows = [SheetRow(f"with {words}, scale {scale:g}", drawn), *([SheetRow("without", without)] if without else [])]
    labels = [f"seed {each.seed}" for each in requests]
    sheet = contact_sheet(rows, title=request.prompt, column_labels=labels)
    save_png(sheet, folder / "sheet.png", _parameters(drawing, requests[0], {"Lora scale": f"{scale:g}"}))
    return GenerateResult(folder, tuple(pictures), tuple(plain), folder / "sheet.png")


def _parameters(drawing: _Drawing, each: DrawRequest, more: dict[str, str]) -> PictureParameters:
    """The prompt is the one that was typed: other programs know the word, not our new tokens."""
    base = Path(drawing.source.model.base).name
    return PictureParameters(drawing.request.prompt, each, drawing.size, base, more)
