"""Owns encoded pictures, found again by what they are: never by position or path, and verified when read from disk.

A key is a hash of the file's bytes, the view, how it was rendered and the encoder's fingerprint. So a changed file,
another crop or another VAE can never be mistaken for what was encoded, and runs share what they have in common.
"""
# safetensors says nothing of its types.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lorasmith.atomic import NO_SPACE, write_whole
from lorasmith.config.data import Interpolation
from lorasmith.data.examples import Draw
from lorasmith.data.wording import shown
from lorasmith.errors import DivergedError
from lorasmith.models.family import LatentDistribution

_log = logging.getLogger(__name__)

_FORMAT = "lorasmith-latents-2"
_ENTRY = "lorasmith"
"""The one entry of a file's metadata: safetensors writes several in any order, and the same latents should be the same
bytes."""
_HOUR = 3600.0
_MOST_IN_MEMORY = 256 * 2**20
"""Bytes of latents that are held besides those on disk: at 1024 pixels, those of 512 pictures."""
_LONGEST_PATH = 4096


@dataclass(frozen=True)
class Rendering:
    """What besides the view decides a picture's pixels."""

    interpolation: Interpolation
    background: str


def key_of(draw: Draw, *, rendering: Rendering, encoder_fingerprint: str) -> str:
    """The name of a draw's latents: 64 hex digits that depend on content, view, rendering and encoder alone."""
    view = draw.view
    facts = [
        _FORMAT,
        draw.example.content,
        [*view.resized, *view.crop_top_left, *view.target, view.flip],
        [rendering.interpolation, rendering.background],
        encoder_fingerprint,
    ]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def default_cache_folder() -> Path:
    """`lorasmith/latents` in the user's cache folder (XDG base directory specification)."""
    told = os.environ.get("XDG_CACHE_HOME", "")
    home = Path(told) if Path(told).is_absolute() else Path.home() / ".cache"
    return home / "lorasmith" / "latents"


@dataclass(frozen=True)
class StoredLatents:
    """What a file of the cache holds, and the fingerprint of the encoder that made it."""

    latents: LatentDistribution
    encoder: str


def file_of(folder: Path, key: str) -> Path:
    """Where in a cache's folder the latents of a key are."""
    return folder / key[:2] / f"{key[2:]}.safetensors"


def read_stored(file: Path) -> StoredLatents:
    """What is in a file of the cache.

    Raises ValueError, OSError or SafetensorError when it is not, to the bit, what was written.
    """
    with safe_open(file, framework="pt") as opened:
        said = _said_in(opened.metadata())
        latents = LatentDistribution(opened.get_tensor("mean"), opened.get_tensor("std"))
    encoder = said.get("encoder")
    if encoder is None or said.get("sha256") != _checksum(latents, encoder):
        raise ValueError("its checksum differs")
    return StoredLatents(latents, encoder)


def encoder_of(file: Path) -> str | None:
    """Which encoder made a file of the cache, as its header says; None when it says nothing that can be read."""
    try:
        with safe_open(file, framework="pt") as opened:
            return _said_in(opened.metadata()).get("encoder")
    except (SafetensorError, OSError, ValueError):
        return None


class LatentCache:
    """Encoded pictures by key, in memory and (given a folder) on disk; a full disk costs the sharing, not the run."""

    def __init__(self, folder: Path | None) -> None:
        """With None, memory only. The folder is made when the first file is written."""
        self._folder = folder
        self._memory: dict[str, LatentDistribution] = {}
        self._held = 0
        self._writes = folder is not None

    def get(self, key: str) -> LatentDistribution | None:
        """What was put under `key`, on the CPU; None if nothing was, or if what is on disk has been damaged."""
        if key not in self._memory:
            read = self._read(key)
            if read is None:
                return None
            self._hold(key, read)
            return read
        return self._memory[key]

    def put(self, key: str, latents: LatentDistribution, *, encoder: str = "") -> None:
        """Keep one picture's latents (mean and std [1, C, h, w]) as fp32 on the CPU, with its encoder's fingerprint."""
        kept = LatentDistribution(_at_rest(latents.mean), _at_rest(latents.std))
        if self._writes and self._folder is not None:
            self._write(file_of(self._folder, key), StoredLatents(kept, encoder))
        self._hold(key, kept)

    def _hold(self, key: str, latents: LatentDistribution) -> None:
        """Keep it in memory; what is on disk as well makes room, that of longest ago first."""
        if key not in self._memory:
            self._held += _bytes_of(latents)
        self._memory[key] = latents
        while self._writes and self._held > _MOST_IN_MEMORY and len(self._memory) > 1:
            self._held -= _bytes_of(self._memory.pop(next(iter(self._memory))))

    def _read(self, key: str) -> LatentDistribution | None:
        if self._folder is None:
            return None
        file = file_of(self._folder, key)
        if not file.is_file():
            return None
        try:
            stored = read_stored(file)
        except (SafetensorError, OSError, ValueError) as error:
            told = shown(file, limit=_LONGEST_PATH)
            _log.warning("a cached picture is damaged and is encoded again: %s (%s)", told, shown(str(error)))
            _remove(file)
            return None
        note_use(file)
        return stored.latents

    def _write(self, file: Path, stored: StoredLatents) -> None:
        try:
            # Latents are pictures of people, decoded in a moment: nobody else on the machine needs to read them.
            write_whole(file, _as_bytes(stored), folder_mode=0o700)
        except OSError as error:
            self._writes = False
            why = "the disk is full" if error.errno in NO_SPACE else error.strerror
            _log.warning(
                "encoded pictures are kept in memory only, because they cannot be written: %s (%s). "
                "Set data.cache_folder to another place, or data.cache_latents to false.",
                why,
                shown(file.parent),
            )


@dataclass(frozen=True)
class LatentSource:
    """How draws become latents: from the cache where it has them, else by rendering and encoding."""

    pixels: Callable[[Draw], Tensor]
    """A draw's pixels [3, H, W] in −1…1."""
    encode: Callable[[Tensor], LatentDistribution]
    """Pixels [B, 3, H, W] to scaled latents."""
    rendering: Rendering
    encoder_fingerprint: str
    cache: LatentCache | None
    """None encodes each draw anew, as random crops need it."""

    def key_of(self, draw: Draw) -> str:
        """The name of the draw's latents."""
        return key_of(draw, rendering=self.rendering, encoder_fingerprint=self.encoder_fingerprint)

    def latents_of(self, draws: Sequence[Draw]) -> LatentDistribution:
        """The latents [B, C, h, w] of draws of one target, in their order, fp32 on the CPU."""
        each = [self.one(draw) for draw in draws]
        return LatentDistribution(torch.cat([one.mean for one in each]), torch.cat([one.std for one in each]))

    def is_kept(self, draw: Draw) -> bool:
        """Whether the draw's latents are in the cache, and whole."""
        return self.cache is not None and self.cache.get(self.key_of(draw)) is not None

    def one(self, draw: Draw) -> LatentDistribution:
        """One draw's latents [1, C, h, w].

        Each picture is encoded alone: in a batch, the last bits would depend on the pictures beside it, and a run
        that goes on after a stop, with other gaps in its cache, would differ from one that never stopped.
        """
        if self.cache is None:
            return self._encoded(draw)
        key = self.key_of(draw)
        latents = self.cache.get(key)
        if latents is None:
            latents = self._encoded(draw)
            self.cache.put(key, latents, encoder=self.encoder_fingerprint)
        return latents

    def _encoded(self, draw: Draw) -> LatentDistribution:
        latents = self.encode(self.pixels(draw).unsqueeze(0))
        if not (latents.mean.isfinite().all() and latents.std.isfinite().all()):
            raise DivergedError(
                f"the VAE's latents of {shown(draw.example.id)} are not finite",
                remedy="SDXL's own VAE overflows in half precision: encode in fp32, or use a VAE made for fp16.",
            )
        return LatentDistribution(_at_rest(latents.mean), _at_rest(latents.std))


def _bytes_of(latents: LatentDistribution) -> int:
    return latents.mean.nbytes + latents.std.nbytes


def _at_rest(tensor: Tensor) -> Tensor:
    return tensor.detach().to("cpu", torch.float32).contiguous()


def _checksum(latents: LatentDistribution, encoder: str) -> str:
    digest = hashlib.sha256(encoder.encode())
    for tensor in (latents.mean, latents.std):
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


def _as_bytes(stored: StoredLatents) -> bytes:
    said = {"sha256": _checksum(stored.latents, stored.encoder), "encoder": stored.encoder}
    return save({"mean": stored.latents.mean, "std": stored.latents.std}, {_ENTRY: json.dumps(said)})


def _said_in(metadata: Mapping[str, str] | None) -> dict[str, str]:
    """A header's own entry; ValueError when there is none."""
    said: object = json.loads((metadata or {}).get(_ENTRY, "null"))
    if not isinstance(said, dict):
        raise ValueError("it is not a file of this cache")
    return {str(name): str(value) for name, value in cast("dict[object, object]", said).items()}


def note_use(file: Path) -> None:
    """Let the file's time say when it was last of use, to the hour; a folder that may only be read keeps its times."""
    with suppress(OSError):
        if time.time() - file.stat().st_mtime > _HOUR:
            os.utime(file)


def _remove(file: Path) -> None:
    try:
        file.unlink(missing_ok=True)
    except OSError as error:
        _log.warning("%s cannot be removed: %s", shown(file), error.strerror)
