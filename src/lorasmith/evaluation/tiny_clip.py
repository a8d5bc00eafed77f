"""Owns the small CLIP, pictures and captions of the emoji world in one space; refuses to know what is true of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image

from .oracle import to_tensor
from .shipped_weights import TINY_CLIP, weights_folder
from .tiny_clip_layers import TinyClipTowers, token_ids
from .weight_files import read_weights

Embeddings = npt.NDArray[np.float64]


class TinyClip:
    """CLIP's two scores in small: CLIP-T is `pictures @ texts`, CLIP-I is `pictures @ pictures`."""

    name = "the small CLIP"

    def __init__(self, towers: TinyClipTowers) -> None:
        """Take over trained towers."""
        self._towers = towers.eval()

    @torch.inference_mode()
    def pictures(self, pictures: Sequence[Image.Image]) -> Embeddings:
        """Embeddings (count, 64), each of length 1."""
        return self._towers.picture(to_tensor(pictures)).double().numpy()

    @torch.inference_mode()
    def texts(self, texts: Sequence[str]) -> Embeddings:
        """Embeddings (count, 64), each of length 1; words the world does not know are all one word."""
        return self._towers.caption(token_ids(texts)).double().numpy()


def open_tiny_clip(path: Path | None = None) -> TinyClip:
    """The small CLIP that ships in the package, or the one in a file; a DataError for a file that holds none."""
    towers = TinyClipTowers()
    read_weights(path or weights_folder() / TINY_CLIP, towers, what="the small CLIP")
    return TinyClip(towers)
