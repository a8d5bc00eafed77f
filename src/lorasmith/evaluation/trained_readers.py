# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# transformers' loaders and outputs are only partly typed.
"""Owns CLIP and DINOv2 as readers of pictures, in transformers' own classes; downloads nothing unless told to."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from PIL import Image, ImageOps
from transformers import CLIPModel, CLIPTokenizer, Dinov2Model

from lorasmith.errors import DataError
from lorasmith.evaluation.intervals import Floats
from lorasmith.models import hub_files
from lorasmith.models.quiet import quiet_loading

_log = logging.getLogger(__name__)

USUAL_CLIP: Final = "openai/clip-vit-large-patch14"
USUAL_DINO: Final = "facebook/dinov2-base"
_AT_ONCE: Final = 8
_DINO_FILES: Final = ("config.json", "model.safetensors")
_CLIP_FILES: Final = (*_DINO_FILES, "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt")


@dataclass(frozen=True)
class _Colours:
    """Mean and spread of the red, green and blue that a reader was trained on."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


_CLIP: Final = _Colours((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_DINO: Final = _Colours((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


class ClipReader:
    """Pictures and prompts in one space: cosines between them are CLIP-T and CLIP-I."""

    def __init__(self, layers: CLIPModel, tokenizer: CLIPTokenizer, *, name: str) -> None:
        self._layers, self._tokenizer, self.name = layers.eval(), tokenizer, name

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> Floats:
        """Rows [n, width]."""
        side = int(cast(Any, self._layers.config).vision_config.image_size)
        rows = [
            self._layers.visual_projection(self._layers.vision_model(pixel_values=batch).pooler_output)
            for batch in _batches(pictures, side=side, colours=_CLIP)
        ]
        return _rows(rows)

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Floats:
        """Rows [n, width]; longer texts are cut as CLIP reads them."""
        tokenized = self._tokenizer(list(texts), padding=True, truncation=True, return_tensors="pt")
        pooled = self._layers.text_model(**tokenized).pooler_output
        return _rows([self._layers.text_projection(pooled)])


class DinoReader:
    """Pictures by what they show, words aside."""

    def __init__(self, layers: Dinov2Model, *, name: str) -> None:
        self._layers, self.name = layers.eval(), name

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> Floats:
        """Rows [n, width] of the class token."""
        side = min(int(cast(Any, self._layers.config).image_size), 224)
        rows = [
            self._layers(pixel_values=batch).last_hidden_state[:, 0]
            for batch in _batches(pictures, side=side, colours=_DINO)
        ]
        return _rows(rows)


def open_clip(named: str | None, *, download: bool) -> ClipReader | None:
    """CLIP from a folder or a hub id; None as the name takes the usual one if it is on this machine, or none."""
    folder = _locate(_Wanted(named, USUAL_CLIP, "--clip", _CLIP_FILES), download=download)
    if folder is None:
        return None
    layers, tokenizer = (_load(kind, folder, where="--clip") for kind in (CLIPModel, CLIPTokenizer))
    return ClipReader(layers, tokenizer, name=f"CLIP ({_shown(named or USUAL_CLIP)})")


def open_dino(named: str | None, *, download: bool) -> DinoReader | None:
    """DINOv2, as `open_clip` has it."""
    folder = _locate(_Wanted(named, USUAL_DINO, "--dino", _DINO_FILES), download=download)
    if folder is None:
        return None
    return DinoReader(_load(Dinov2Model, folder, where="--dino"), name=f"DINOv2 ({_shown(named or USUAL_DINO)})")


@dataclass(frozen=True)
class _Wanted:
    """A reader as it was asked for: by name, or the usual one; the flag that says it, and the files it has."""

    named: str | None
    usual: str
    where: str
    files: tuple[str, ...]


def _locate(wanted: _Wanted, *, download: bool) -> Path | None:
    """The reader's folder; None where none was asked for, or none named and the usual one is not here.

    transformers is always given a folder: even told to stay on this machine, it asks the hub about itself.
    """
    if wanted.named == "none":
        return None
    name = wanted.named or wanted.usual
    if Path(name).is_dir():
        return Path(name)
    if download:
        return hub_files.fetch(hub_files.HubRepository(name, None, wanted.where), list(wanted.files))
    kept = _kept_folder(name)
    if kept is not None:
        _log.info("%s is on this machine and reads the pictures; %s none leaves it out", name, wanted.where)
        return kept
    if wanted.named is None:
        return None
    raise DataError(
        f"{name} is neither a folder nor in the hub's cache on this machine",
        where=wanted.where,
        remedy="Name a folder with config and safetensors, or add --download.",
    )


def _kept_folder(name: str) -> Path | None:
    """The hub's cache of a repository with its weights, if there is one."""
    if not hub_files.looks_like_hub_id(name):
        return None
    kept = [try_to_load_from_cache(name, file) for file in ("config.json", "model.safetensors")]
    return Path(kept[0]).parent if isinstance(kept[0], str) and isinstance(kept[1], str) else None


def _load(kind: Any, folder: Path, *, where: str) -> Any:
    weights: dict[str, Any] = {} if kind is CLIPTokenizer else {"use_safetensors": True}
    try:
        with quiet_loading():
            return kind.from_pretrained(folder, local_files_only=True, **weights)
    except (OSError, ValueError, RuntimeError) as failure:
        raise DataError(
            f"{folder} could not be opened: {str(failure).splitlines()[0]}",
            where=where,
            remedy="Name a folder with config and safetensors.",
        ) from failure


def _shown(name: str) -> str:
    """A name that tells of no folder of this machine."""
    return Path(name).name if Path(name).is_dir() else name


def _batches(pictures: Sequence[Image.Image], *, side: int, colours: _Colours) -> list[torch.Tensor]:
    """Pictures [B, 3, side, side] as the reader was trained on them: the middle square, bicubic, normalised."""
    squares = [ImageOps.fit(one.convert("RGB"), (side, side), Image.Resampling.BICUBIC) for one in pictures]
    arrays = np.stack([np.asarray(one, dtype=np.float32) / 255 for one in squares])
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (colours.mean, colours.std))
    whole = (torch.from_numpy(arrays).permute(0, 3, 1, 2) - mean) / std
    return list(whole.split(_AT_ONCE))


def _rows(parts: Sequence[torch.Tensor]) -> Floats:
    return torch.cat(list(parts)).double().numpy()
