"""Owns the linear code of pictures (principal components of 4x4 patches); refuses networks.

A picture's patch of 4x4x3 numbers becomes 8, whitened only in part, so that colour keeps more weight than detail. The
code is fixed before anything is trained: the denoiser can learn while the decoder still does.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from .recipe import Recipe

Floats = npt.NDArray[np.float32]
_SPREAD_EXPONENT = 0.2  # a channel's spread is its variance to this power; 0.5 would keep it, 0 would whiten it


@dataclass(frozen=True, slots=True)
class PatchBasis:
    """`latents = matrix @ patch + offset`: matrix (channels, patch, patch, 3), offset (channels,), unscaled latents."""

    matrix: Floats
    offset: Floats

    def encode(self, pictures: npt.NDArray[np.uint8]) -> Floats:
        """Unscaled latents (count, channels, height, width) of uint8 pictures (count, side, side, 3)."""
        patches = _patches(pictures, self.matrix.shape[1])
        codes = patches @ self.matrix.reshape(len(self.matrix), -1).T + self.offset
        return np.ascontiguousarray(codes.transpose(0, 3, 1, 2), dtype=np.float32)

    def save(self, path: Path) -> None:
        """Write matrix and offset."""
        np.savez(path, matrix=self.matrix, offset=self.offset)

    @classmethod
    def load(cls, path: Path) -> PatchBasis:
        """Read what `save` wrote."""
        stored = np.load(path)
        return cls(stored["matrix"], stored["offset"])


def fit_patch_basis(recipe: Recipe, pictures: npt.NDArray[np.uint8]) -> PatchBasis:
    """The leading principal components of the patches of `pictures`; latents times the scaling factor have rms 1."""
    patches = _patches(pictures, recipe.patch_px).reshape(-1, recipe.patch_px**2 * 3).astype(np.float64)
    mean = patches.mean(axis=0)
    variances, directions = np.linalg.eigh(np.cov((patches - mean).T))
    leading = np.argsort(variances)[::-1][: recipe.latent_channels]
    spread = variances[leading] ** _SPREAD_EXPONENT
    spread /= np.sqrt((spread**2).mean()) * recipe.scaling_factor
    matrix = directions[:, leading].T * (spread / np.sqrt(variances[leading]))[:, None]
    shape = (recipe.latent_channels, recipe.patch_px, recipe.patch_px, 3)
    return PatchBasis(matrix.reshape(shape).astype(np.float32), (-matrix @ mean).astype(np.float32))


def _patches(pictures: npt.NDArray[np.uint8], patch: int) -> Floats:
    """(count, height, width, patch * patch * 3), from -1 to 1."""
    count, side = pictures.shape[:2]
    cells = side // patch
    grid = pictures.reshape(count, cells, patch, cells, patch, 3).transpose(0, 1, 3, 2, 4, 5)
    return grid.reshape(count, cells, cells, -1).astype(np.float32) / 127.5 - 1.0
