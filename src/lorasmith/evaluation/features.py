# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch and diffusers are only partly typed.
"""Owns pictures as rows of numbers that need no trained judge: their pixels, their latents; refuses to compare them."""

from collections.abc import Sequence
from typing import Final, Protocol

import numpy as np
import torch
from PIL import Image, ImageFilter, ImageOps

from lorasmith.evaluation.intervals import Floats
from lorasmith.models.family import LatentDistribution
from lorasmith.sizes import Size

_CELLS: Final = 32
_AT_ONCE: Final = 8


class Encoder(Protocol):
    """Anything that has latents of pictures, such as a base."""

    def encode_pictures(self, pictures: torch.Tensor) -> LatentDistribution:
        """Pictures [B, 3, H, W] in −1…1 to their latents."""
        ...


def fitted(picture: Image.Image, size: Size) -> Image.Image:
    """The middle of a picture at a size, as it is trained on; RGB."""
    rgb = picture.convert("RGB")
    wanted = (size.width, size.height)
    return rgb if rgb.size == wanted else ImageOps.fit(rgb, wanted, Image.Resampling.LANCZOS)


def pixel_features(pictures: Sequence[Image.Image]) -> Floats:
    """Rows [n, 3 · 32²] in 0 to 1, blurred a little, since the same thing may lie a pixel off."""
    rows = [np.asarray(_reduced(picture), dtype=np.float64).ravel() / 255 for picture in pictures]
    return np.stack(rows) if rows else np.zeros((0, 3 * _CELLS**2))


def latent_features(encoder: Encoder, pictures: Sequence[Image.Image]) -> Floats:
    """Rows [n, C · h · w]: the means of the pictures' latents."""
    rows = [
        encoder.encode_pictures(as_tensor(pictures[start : start + _AT_ONCE])).mean.flatten(1).double().cpu().numpy()
        for start in range(0, len(pictures), _AT_ONCE)
    ]
    return np.concatenate(rows)


def as_tensor(pictures: Sequence[Image.Image]) -> torch.Tensor:
    """Pictures of one size [B, 3, H, W] in −1…1."""
    arrays = np.stack([np.asarray(picture.convert("RGB"), dtype=np.float32) for picture in pictures])
    return torch.from_numpy(arrays).permute(0, 3, 1, 2) / 127.5 - 1


def _reduced(picture: Image.Image) -> Image.Image:
    blurred = picture.convert("RGB").filter(ImageFilter.GaussianBlur(min(picture.size) / 53))
    return blurred.resize((_CELLS, _CELLS), Image.Resampling.BOX)
