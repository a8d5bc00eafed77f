"""Owns the resumable state of a build, written beside and renamed in as safetensors; refuses to train."""
# pyright: basic, reportPrivateImportUsage=false

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.optim import Optimizer


def store_state(path: Path, parts: Mapping[str, Mapping[str, Tensor]], *, step: int) -> None:
    """Write named groups of tensors and the step."""
    tensors = {
        f"{part}/{name}": tensor.detach().clone().contiguous()
        for part, group in parts.items()
        for name, tensor in group.items()
    }
    beside = path.with_suffix(".part")
    save_file(tensors, beside, metadata={"step": str(step)})
    beside.replace(path)


def load_state(path: Path) -> tuple[dict[str, dict[str, Tensor]], int]:
    """Read what `store_state` wrote: the groups and the step."""
    parts: dict[str, dict[str, Tensor]] = {}
    with safe_open(path, framework="pt") as stored:
        for key in stored.keys():  # noqa: SIM118 (not a dict)
            part, name = key.split("/", 1)
            parts.setdefault(part, {})[name] = stored.get_tensor(key)
        return parts, int(stored.metadata()["step"])


def capture_optimizer(optimizer: Optimizer) -> dict[str, Tensor]:
    """The moments of every parameter, by its place in the optimizer."""
    state = optimizer.state_dict()["state"]
    return {f"{place}.{name}": torch.as_tensor(value) for place, held in state.items() for name, value in held.items()}


def restore_optimizer(optimizer: Optimizer, tensors: dict[str, Tensor]) -> None:
    """Undo `capture_optimizer`."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        place, name = key.split(".", 1)
        state.setdefault(int(place), {})[name] = tensor
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


class MovingAverage:
    """An exponential moving average of a network's parameters, in fp32."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Start at the network's present weights."""
        self._decay = decay
        self._live = dict(network.named_parameters())
        self.averages = {name: parameter.detach().clone() for name, parameter in self._live.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move towards the network's weights, faster in the first steps."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.averages.values()), list(self._live.values()), 1 - decay)

    def restore(self, averages: dict[str, Tensor]) -> None:
        """Take over stored averages."""
        for name, average in self.averages.items():
            average.copy_(averages[name])
