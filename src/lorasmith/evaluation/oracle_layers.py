"""Owns the oracle's layers, a small residual parser of 64 px pictures; refuses weights and pictures on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from .factors import FACTORS, VALUES, Factor

SIDE_PX: Final = 64
IDENTITY_WIDTH: Final = 64

_STAGES: Final = ((56, 2), (112, 2), (160, 1))  # (channels, residual blocks) at 16, 8 and 4 cells a side
_CELLS: Final = 4
_PLACED: Final = 24  # channels that keep their place
_HIDDEN: Final = 256


@dataclass(frozen=True, slots=True)
class Parsed:
    """Scores per factor (batch, values) and identity embeddings (batch, 64), each of length 1."""

    scores: dict[Factor, Tensor]
    identity: Tensor


class FactorParser(nn.Module):
    """Convolutions down to 4 by 4 cells, then one linear head per factor and one for the identity."""

    def __init__(self) -> None:
        """Fresh weights; the caller seeds torch."""
        super().__init__()
        layers: list[nn.Module] = []
        width = 5
        for channels, blocks in _STAGES:
            layers.append(_convolution(width, channels, size=3, stride=2) if layers else _patches(width, channels))
            layers += [_Residual(channels) for _ in range(blocks)]
            width = channels
        self.body = nn.Sequential(*layers)
        self.placed = nn.Conv2d(width, _PLACED, 1)
        self.mixed = nn.Linear(width + _PLACED * _CELLS**2, _HIDDEN)
        self.heads = nn.ModuleDict({factor: nn.Linear(_HIDDEN, len(VALUES[factor])) for factor in FACTORS})
        self.identity = nn.Linear(_HIDDEN, IDENTITY_WIDTH, bias=False)

    def forward(self, pictures: Tensor) -> Parsed:
        """Read pictures (batch, 3, 64, 64) from -1 to 1."""
        seen = self.body(_with_coordinates(pictures))
        features = torch.cat((seen.mean(dim=(2, 3)), self.placed(seen).flatten(1)), dim=1)
        mixed = functional.silu(self.mixed(features))
        scores: dict[Factor, Tensor] = {factor: self.heads[factor](mixed) for factor in FACTORS}
        return Parsed(scores, functional.normalize(self.identity(mixed).float(), dim=1))


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
    line = torch.linspace(-1, 1, SIDE_PX, device=pictures.device, dtype=pictures.dtype)
    across = line.expand(len(pictures), 1, SIDE_PX, SIDE_PX)
    return torch.cat((pictures, across, across.transpose(2, 3)), dim=1)
