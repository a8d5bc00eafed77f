"""Owns drawing what an examination asks for: each picture once, kept by content; refuses to judge pictures."""

import errno
import hashlib
import io
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import diffusers
import torch
from PIL import Image, UnidentifiedImageError

from lorasmith.atomic import NO_SPACE, write_whole
from lorasmith.config.text import TextConfig
from lorasmith.data.cache import default_cache_folder, note_use
from lorasmith.evaluation.examination import Role, Shot
from lorasmith.events import Emit, WorkDone
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.tokens.vocabulary import TokenVocabulary

if TYPE_CHECKING:
    from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

_log = logging.getLogger(__name__)

_FORMAT: Final = "evaluation/1"


@dataclass(frozen=True)
class Brush:
    """How all pictures of an examination are drawn."""

    steps: int
    guidance: float
    batch_size: int
    text: TextConfig = field(default_factory=TextConfig)


@dataclass(frozen=True)
class Pictures:
    """What was drawn, by shot."""

    by_shot: Mapping[Shot, Image.Image]

    def of(self, role: Role, scale: float | None) -> list[tuple[Shot, Image.Image]]:
        """The pictures of one role at one scale (None: of the base alone), by prompt and number."""
        return [(shot, picture) for shot, picture in self.by_shot.items() if (shot.role, shot.scale) == (role, scale)]

    def joined(self, other: "Pictures") -> "Pictures":
        """Both."""
        return Pictures({**self.by_shot, **other.by_shot})


class PictureCache:
    """Drawn pictures as lossless files by what they depend on; None as the folder keeps nothing."""

    def __init__(self, folder: Path | None) -> None:
        """The folder is made when the first picture is kept."""
        self._folder = folder
        self.drawn = 0
        self.kept = 0

    def get(self, key: str) -> Image.Image | None:
        """What was put under `key`; None if nothing was, or if it cannot be read any more."""
        if self._folder is None:
            return None
        try:
            file = self._path(self._folder, key)
            with Image.open(file) as picture:
                read = picture.convert("RGB")
        except (OSError, UnidentifiedImageError, SyntaxError):
            return None
        note_use(file)
        return read

    def put(self, key: str, picture: Image.Image) -> None:
        """Keep a picture; a disk that is full or closed to us costs the keeping, not the evaluation."""
        if self._folder is None:
            return
        try:
            write_whole(self._path(self._folder, key), _png(picture))
        except OSError as failure:
            if failure.errno not in (*NO_SPACE, errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            _log.warning("pictures are not kept for the next evaluation: %s", failure.strerror)
            self._folder = None

    @staticmethod
    def _path(folder: Path, key: str) -> Path:
        return folder / key[:2] / f"{key}.png"


def default_picture_folder() -> Path:
    """`lorasmith/evaluation` in the user's cache folder."""
    return default_cache_folder().parent / "evaluation"


@dataclass(frozen=True)
class Easel:
    """A base that draws, known by the hash of its weights, and where its pictures are kept."""

    pipeline: "StableDiffusionXLPipeline"
    fingerprint: str
    cache: PictureCache
    brush: Brush
    emit: Emit

    def draw(self, shots: Sequence[Shot], *, vocabulary: TokenVocabulary | None = None, export: str = "") -> Pictures:
        """All shots, those drawn before read back. `export` is the hash of what is loaded, empty for the base alone."""
        keys = {shot: self._key(shot, export) for shot in dict.fromkeys(shots)}
        one_of_each = {key: shot for shot, key in keys.items()}
        by_key = {key: picture for key in one_of_each if (picture := self.cache.get(key)) is not None}
        missing = {key: shot for key, shot in one_of_each.items() if key not in by_key}
        drawn = self._draw(list(missing.values()), vocabulary)
        for key, shot in missing.items():
            by_key[key] = drawn[shot]
            self.cache.put(key, drawn[shot])
        self.cache.drawn += len(missing)
        self.cache.kept += len(one_of_each) - len(missing)
        return Pictures({shot: by_key[key] for shot, key in keys.items()})

    def _draw(self, shots: Sequence[Shot], vocabulary: TokenVocabulary | None) -> dict[Shot, Image.Image]:
        by_scale = sorted(shots, key=lambda shot: shot.scale or 0)  # what is drawn at once shares a scale
        requests = [self._request(shot, vocabulary) for shot in by_scale]

        def tell(done: int) -> None:
            self.emit(WorkDone("drawing pictures", done, len(requests)))

        drawn = draw(self.pipeline, requests, batch_size=self.brush.batch_size, on_picture=tell)
        return dict(zip(by_scale, drawn, strict=True))

    def _request(self, shot: Shot, vocabulary: TokenVocabulary | None) -> DrawRequest:
        prompt = vocabulary.expand(shot.text) if vocabulary and shot.scale is not None else shot.text
        scale = 1.0 if shot.scale is None else shot.scale
        settings = DrawSettings(self.brush.steps, self.brush.guidance, scale, text=self.brush.text)
        return DrawRequest(prompt, shot.seed, settings=settings)

    def _key(self, shot: Shot, export: str) -> str:
        facts = [
            _FORMAT, torch.__version__, diffusers.__version__, str(self.pipeline.unet.dtype), self.fingerprint,
            export if shot.scale is not None else "", shot.scale, shot.text, shot.seed,
            self.brush.steps, self.brush.guidance, self.brush.text.model_dump(mode="json"),
        ]  # fmt: skip
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _png(picture: Image.Image) -> bytes:
    content = io.BytesIO()
    picture.save(content, "PNG")
    return content.getvalue()
