"""Owns drawing masks from words for pictures that have none: for a run into its cache, or for a person beside them."""

import hashlib
import json
from collections import Counter
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import torch
from PIL import Image

from lorasmith.atomic import naming_write_failures, write_bytes
from lorasmith.captioning.words_to_masks import ClipSeg, MaskRequest, open_clipseg
from lorasmith.config.data import DataConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.cache import default_cache_folder, note_use
from lorasmith.data.decode import decode
from lorasmith.data.examples import Example
from lorasmith.data.mask_names import mask_beside, possible_masks
from lorasmith.data.masks import mask_in
from lorasmith.data.read import picture_files
from lorasmith.data.wording import counted, listed, shown
from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Emit, Event, Notice, WorkDone
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.training.precision import resolve_device

_FORMAT = "lorasmith-mask-1"
_TASK = "drawing masks"


def with_masks_from_words(
    config: TrainConfig, examples: tuple[Example, ...], device: torch.device, emit: Emit
) -> tuple[Example, ...]:
    """The run's instance images, those without a mask with one of `data.mask_words`, drawn once and kept."""
    data = config.data
    bare = [example for example in examples if example.mask is None]
    if data.mask_words is None or not bare:
        return examples
    clipseg = open_clipseg(data.mask_source, device, "data.mask_source")
    masked: dict[str, Example] = {}
    for done, example in enumerate(bare, start=1):
        masked[example.id] = _masked(example, data, clipseg)
        emit(WorkDone(_TASK, done, len(bare)))
    return tuple(masked.get(example.id, example) for example in examples)


@dataclass(frozen=True)
class MaskFolderRequest:
    """Masks for the pictures of a folder; `out` None puts each beside its picture."""

    folder: Path
    request: MaskRequest
    source: str
    out: Path | None = None
    overwrite: bool = False
    device: str = "auto"
    pixel_limit: int = 64_000_000


def mask_folder(wanted: MaskFolderRequest, emit: Emit, stop: StopSignal | None = None) -> list[Path]:
    """Draw the masks that are not there yet; the files written. StoppedError when asked to stop: those are kept."""
    if not wanted.folder.is_dir():
        raise DataError(f"there is no folder {shown(wanted.folder)}", remedy="Give the folder of the pictures.")
    pictures = picture_files(wanted.folder)
    if not pictures:
        raise DataError(f"there is no picture in {shown(wanted.folder)}")
    open_ones = [picture for picture in pictures if wanted.overwrite or not _has_mask(picture, wanted)]
    targets = {picture: _target(picture, wanted) for picture in open_ones}
    _refuse_shared(targets)
    if not targets:
        return []
    clipseg = open_clipseg(wanted.source, resolve_device(wanted.device), "--model")
    stop = stop or StopSignal()
    with stop.listening():
        return _draw_all(targets, wanted, clipseg, _leaving(emit, stop, wanted.folder))


def _draw_all(targets: dict[Path, Path], wanted: MaskFolderRequest, clipseg: ClipSeg, emit: Emit) -> list[Path]:
    written: list[Path] = []
    broken: list[str] = []
    for done, (picture, target) in enumerate(targets.items(), start=1):
        try:
            upright = decode(picture, background="white", pixel_limit=wanted.pixel_limit)
        except DataError as error:
            broken.append(picture.name)
            emit(Notice(f"left out {shown(picture.name)}: {error.problems[0].what}"))
        else:
            _write(target, clipseg.mask(upright, wanted.request))
            written.append(target)
        emit(WorkDone(_TASK, done, len(targets)))
    if broken and not written:
        raise DataError(f"no mask was drawn: {counted(len(broken), 'picture')} cannot be read: {listed(broken)}")
    return written


def _refuse_shared(targets: dict[Path, Path]) -> None:
    """Of `1.jpg` and `1.png` one would overwrite the other's mask."""
    counts = Counter(targets.values())
    shared = [picture.name for picture, target in targets.items() if counts[target] > 1]
    if shared:
        raise DataError(f"pictures would share a mask: {listed(shared)}", remedy="Give them different names.")


def _target(picture: Path, wanted: MaskFolderRequest) -> Path:
    return mask_beside(picture) if wanted.out is None else wanted.out / f"{picture.stem}.png"


def _has_mask(picture: Path, wanted: MaskFolderRequest) -> bool:
    return any(path.is_file() for path in possible_masks(picture, wanted.out))


def _leaving(emit: Emit, stop: StopSignal, folder: Path) -> Emit:
    def tell(event: Event) -> None:
        emit(event)
        if isinstance(event, WorkDone) and event.done < event.total and stop.is_set():
            raise StoppedError(
                f"stopped after {event.done} of {event.total} masks; they are kept",
                where=str(folder),
                remedy="The same command goes on with the others.",
            )

    return tell


def _masked(example: Example, data: DataConfig, clipseg: ClipSeg) -> Example:
    request = MaskRequest(data.mask_words or "", data.mask_temperature)
    file = _kept_file(example, data, request, clipseg)
    if not file.is_file():
        picture = decode(example.path, background=data.background, pixel_limit=data.pixel_limit)
        _write(file, clipseg.mask(picture, request))
    note_use(file)
    return replace(example, mask=mask_in(file, example.size, pixel_limit=data.pixel_limit))


def _kept_file(example: Example, data: DataConfig, request: MaskRequest, clipseg: ClipSeg) -> Path:
    facts = [_FORMAT, example.content, data.background, request.words, request.temperature, clipseg.fingerprint]
    key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
    root = data.cache_folder.expanduser() if data.cache_folder else default_cache_folder().parent
    return root / "masks" / key[:2] / f"{key[2:]}.png"


def _write(file: Path, mask: Image.Image) -> None:
    encoded = BytesIO()
    mask.save(encoded, "PNG")
    with naming_write_failures(file.parent):
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_bytes(file, encoded.getvalue())
