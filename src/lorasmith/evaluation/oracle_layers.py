"""Owns the oracle's layers: a glance finds the object, a closer look reads it; refuses weights and pictures on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..world import PLACES, SIZES, Place, Size
from .factors import FACTORS, VALUES, Factor

SIDE_PX: Final = 64
IDENTITY_WIDTH: Final = 64

_AT_A_GLANCE: Final[tuple[Factor, ...]] = ("background", "size", "place")
_CROP_PX: Final = 80  # more than the picture has there, so that none of it is lost
_SHARES_OF_SIDE: Final[dict[Size, float]] = {"small": 0.56, "normal": 0.92, "large": 1.18}
_CENTRES: Final[dict[Place, tuple[float, float]]] = {
    "middle": (0.0, 0.0),
    "left": (-0.5, 0.0),
    "right": (0.5, 0.0),
    "top": (0.0, -0.5),
    "bottom": (0.0, 0.5),
}

_GLANCE_WIDTH: Final = 96
_LOOK_STAGES: Final = ((48, 1), (96, 2), (160, 1))  # (channels, residual blocks) at 20, 10 and 5 cells a side
_LOOK_WIDTH: Final = 256
_PLACED: Final = 24  # channels that keep their place


@dataclass(frozen=True, slots=True)
class Parsed:
    """Scores per factor (batch, values) and identity embeddings (batch, 64), each of length 1."""

    scores: dict[Factor, Tensor]
    identity: Tensor


class FactorParser(nn.Module):
    """Background, size and place from the whole picture; everything else from a crop around the object."""

    def __init__(self) -> None:
        """Fresh weights; the caller seeds torch."""
        super().__init__()
        self.glance = _Glance()
        self.look = _Look()
        widths = {factor: _GLANCE_WIDTH if factor in _AT_A_GLANCE else _LOOK_WIDTH for factor in FACTORS}
        self.heads = nn.ModuleDict({factor: nn.Linear(widths[factor], len(VALUES[factor])) for factor in FACTORS})
        self.identity = nn.Linear(_LOOK_WIDTH, IDENTITY_WIDTH, bias=False)

    def forward(self, pictures: Tensor, boxes: Tensor | None = None) -> Parsed:
        """Read pictures (batch, 3, 64, 64) from -1 to 1; where the objects are is found out unless `boxes` say."""
        glanced = self.glance(pictures)
        scores: dict[Factor, Tensor] = {factor: self.heads[factor](glanced) for factor in _AT_A_GLANCE}
        if boxes is None:
            boxes = boxes_of(scores["size"].argmax(dim=1), scores["place"].argmax(dim=1))
        looked = self.look(cropped(pictures, boxes))
        scores |= {factor: self.heads[factor](looked) for factor in FACTORS if factor not in _AT_A_GLANCE}
        return Parsed(scores, functional.normalize(self.identity(looked).float(), dim=1))


def boxes_of(sizes: Tensor, places: Tensor) -> Tensor:
    """Boxes (batch, 3): half the side, centre across, centre down, the picture reaching from -1 to 1.

    `sizes` and `places` (batch,) are numbers of values; what is not small stands in the middle.
    """
    halves = torch.tensor([_SHARES_OF_SIDE[size] for size in SIZES], device=sizes.device)[sizes]
    centres = torch.tensor([_CENTRES[place] for place in PLACES], device=sizes.device)[places]
    centres = centres * (sizes == SIZES.index("small")).unsqueeze(1)
    return torch.cat((halves.unsqueeze(1), centres), dim=1)


def cropped(pictures: Tensor, boxes: Tensor) -> Tensor:
    """What lies in the boxes (batch, 3, 80, 80); beyond the picture its edge goes on."""
    half, across, down = boxes.to(pictures.dtype).unbind(dim=1)
    none = torch.zeros_like(half)
    rows = (torch.stack((half, none, across), dim=1), torch.stack((none, half, down), dim=1))
    grid = functional.affine_grid(torch.stack(rows, dim=1), [len(pictures), 3, _CROP_PX, _CROP_PX], align_corners=False)
    return functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


class _Glance(nn.Module):
    """The whole picture at half its size, (batch, 96)."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _convolution(5, 24, size=5, stride=2, padding=2),
            _convolution(24, 48, size=3, stride=2),
            _Residual(48),
            _convolution(48, 64, size=3, stride=2),
        )
        self.mixed = nn.Linear(64 * 4 * 4, _GLANCE_WIDTH)

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.body(_with_coordinates(functional.avg_pool2d(pictures, 2)))
        return functional.silu(self.mixed(seen.flatten(1)))


class _Look(nn.Module):
    """The object, (batch, 256)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = 3
        for channels, blocks in _LOOK_STAGES:
            layers.append(_convolution(width, channels, size=3, stride=2) if layers else _patches(width, channels))
            layers += [_Residual(channels) for _ in range(blocks)]
            width = channels
        self.body = nn.Sequential(*layers)
        self.placed = nn.Conv2d(width, _PLACED, 1)
        self.mixed = nn.Linear(width + _PLACED * 5 * 5, _LOOK_WIDTH)

    def forward(self, crops: Tensor) -> Tensor:
        seen = self.body(crops)
        features = torch.cat((seen.mean(dim=(2, 3)), self.placed(seen).flatten(1)), dim=1)
        return functional.silu(self.mixed(features))


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            _convolution(channels, channels, size=3),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, seen: Tensor) -> Tensor:
        return functional.relu(seen + self.inner(seen))


def _convolution(inputs: int, outputs: int, *, size: int, stride: int = 1, padding: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=padding, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


def _patches(inputs: int, outputs: int) -> nn.Sequential:
    """Overlapping patches of 8 by 8 pixels, one every 4."""
    return _convolution(inputs, outputs, size=8, stride=4, padding=2)


def _with_coordinates(pictures: Tensor) -> Tensor:
    """Two more channels, how far right and how far down, from -1 to 1."""
    side = pictures.shape[-1]
    line = torch.linspace(-1, 1, side, device=pictures.device, dtype=pictures.dtype)
    across = line.expand(len(pictures), 1, side, side)
    return torch.cat((pictures, across, across.transpose(2, 3)), dim=1)
