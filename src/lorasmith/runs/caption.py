"""Owns captioning a folder of pictures: which ones still want a caption, and that none that is written gets lost."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, assert_never

from lorasmith.captioning.blip import USUAL as USUAL_BLIP
from lorasmith.captioning.blip import open_blip
from lorasmith.captioning.captioner import Captioner, Frame, Seen
from lorasmith.captioning.florence import USUAL as USUAL_FLORENCE
from lorasmith.captioning.florence import Detail, open_florence
from lorasmith.captioning.template import Template
from lorasmith.captioning.writing import Place, Writer, place_for, standing_captions, told, writer_for
from lorasmith.data.decode import decode
from lorasmith.data.read import picture_files
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Emit, Notice, WorkDone
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.training.precision import resolve_device

CaptionerName = Literal["blip", "florence2", "template"]
_TASK = "writing captions"
_PIXEL_LIMIT = 64_000_000


@dataclass(frozen=True, kw_only=True)
class CaptionRequest:
    """What is to be captioned, by what, and where the captions go.

    `source` is the captioner's weights by id or path, None the usual ones; `to` None goes where captions are already.
    """

    folder: Path
    captioner: CaptionerName = "blip"
    source: str | None = None
    template: str = ""
    detail: Detail = "long"
    frame: Frame = field(default_factory=Frame)
    to: Place | None = None
    overwrite: bool = False
    batch_size: int = 4
    device: str = "auto"


@dataclass(frozen=True)
class Captioned:
    """What came of it: captions by picture, pictures that could not be read, and how many had a caption already."""

    captions: dict[str, str]
    broken: tuple[str, ...]
    kept: int
    told: str


def caption_folder(request: CaptionRequest, emit: Emit, stop: StopSignal | None = None) -> Captioned:
    """Caption every picture of the folder that has no caption yet (with `overwrite`: every one).

    Captions are on the disk as they come. Raises StoppedError when asked to stop: the same command goes on.
    """
    pictures = _pictures_of(request.folder)
    standing = standing_captions(request.folder, pictures)
    wanted = [picture for picture in pictures if request.overwrite or picture.name not in standing.captions]
    place = place_for(standing, request.to)
    writer = writer_for(request.folder, standing, place)
    kept = len(pictures) - len(wanted)
    if not wanted:
        return Captioned({}, (), kept, told(0, kept, place))
    work = _Work(request, _opened(request), writer, emit, stop or StopSignal())
    captions, broken = work.do(wanted, {picture: number for number, picture in enumerate(pictures, start=1)})
    return Captioned(captions, broken, kept, told(len(captions), kept, place))


@dataclass(frozen=True)
class _Work:
    request: CaptionRequest
    captioner: Captioner
    writer: Writer
    emit: Emit
    stop: StopSignal

    def do(self, wanted: Sequence[Path], numbers: dict[Path, int]) -> tuple[dict[str, str], tuple[str, ...]]:
        captions: dict[str, str] = {}
        broken: list[str] = []
        with self.stop.listening():
            try:
                for done, batch in self._batches(wanted):
                    seen = self._seen(batch, numbers, broken)
                    for name, caption in self._described(seen).items():
                        captions[name] = caption
                        self.writer.write(name, caption)
                    self.emit(WorkDone(_TASK, done, len(wanted)))
                    self._leave_when_asked(done, len(wanted))
            finally:
                self.writer.flush()
        if broken and not captions:
            raise DataError(
                f"nothing was captioned: {counted(len(broken), 'picture')} cannot be read: {listed(broken)}"
            )
        return captions, tuple(broken)

    def _batches(self, wanted: Sequence[Path]) -> Iterator[tuple[int, Sequence[Path]]]:
        size = self.request.batch_size
        for start in range(0, len(wanted), size):
            batch = wanted[start : start + size]
            yield start + len(batch), batch

    def _seen(self, batch: Sequence[Path], numbers: dict[Path, int], broken: list[str]) -> dict[str, Seen]:
        seen: dict[str, Seen] = {}
        for picture in batch:
            try:
                pixels = decode(picture, background="white", pixel_limit=_PIXEL_LIMIT)
            except DataError as error:
                broken.append(picture.name)
                self.emit(Notice(f"left out {shown(picture.name)}: {error.problems[0].what}"))
            else:
                seen[picture.name] = Seen(pixels, picture.stem, numbers[picture])
        return seen

    def _described(self, seen: dict[str, Seen]) -> dict[str, str]:
        texts = self.captioner.describe(list(seen.values())) if seen else []
        return {name: self.request.frame.around(text) for name, text in zip(seen, texts, strict=True)}

    def _leave_when_asked(self, done: int, total: int) -> None:
        if self.stop.is_set() and done < total:
            raise StoppedError(
                f"stopped after {done} of {total} pictures; their captions are written",
                where=str(self.request.folder),
                remedy="The same command goes on with the others (without --overwrite).",
            )


def _pictures_of(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"there is no folder {shown(folder)}", remedy="Give the folder of the pictures.")
    pictures = picture_files(folder)
    if not pictures:
        raise DataError(f"there is no picture in {shown(folder)}", remedy="Put jpg, png, webp or bmp files into it.")
    return pictures


def _opened(request: CaptionRequest) -> Captioner:
    match request.captioner:
        case "blip":
            return open_blip(request.source or USUAL_BLIP, resolve_device(request.device), "--model")
        case "florence2":
            device = resolve_device(request.device)
            return open_florence(request.source or USUAL_FLORENCE, device, "--model", request.detail)
        case "template":
            return Template(request.template)
        case _:
            assert_never(request.captioner)
