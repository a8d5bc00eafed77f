"""Owns quick random weights in the wanted type: never a copy in another precision, never a slow initialisation."""

from collections.abc import Callable
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

Device = Literal["meta", "cpu"]
_POOL_SIZE = 1_000_003
"""A prime, so that no row of a weight lines up with another."""
_Network = TypeVar("_Network", bound=nn.Module)


def build(make: Callable[[], _Network], dtype: torch.dtype, device: Device, *, seed: int = 0) -> _Network:
    """The network `make` gives, built without memory first; on the CPU then filled with small uniform values."""
    with torch.device("meta"):
        network = make()
    nn.Module.to(network, dtype)  # diffusers' own `to` warns of types kept apart, and keeps none here.
    network.eval()
    if device == "meta":
        return network
    network = network.to_empty(device="cpu")
    pool = torch.rand(_POOL_SIZE, generator=torch.Generator("cpu").manual_seed(seed)).mul_(2).sub_(1).to(dtype)
    with torch.no_grad():
        for module in network.modules():
            _fill(module, pool)
    return network


def _fill(module: nn.Module, pool: Tensor) -> None:
    """Give a module's own parameters values at which activations keep their size."""
    is_norm = isinstance(module, nn.GroupNorm | nn.LayerNorm)
    for name, parameter in module.named_parameters(recurse=False):
        if is_norm or name.endswith("bias"):
            parameter.fill_(1.0 if is_norm and name == "weight" else 0.0)
        else:
            _tile(parameter.view(-1), pool, bound=_bound(module, parameter))
    for name, buffer in module.named_buffers(recurse=False):
        if name == "position_ids":  # transformers leaves this one out of its files, and so of `to_empty`.
            buffer.copy_(torch.arange(buffer.shape[-1]).expand_as(buffer))


def _bound(module: nn.Module, weight: Tensor) -> float:
    """The largest value of a weight: 1/√inputs for layers, 0.02 for tables."""
    return 0.02 if isinstance(module, nn.Embedding) or weight.ndim < 2 else weight[0].numel() ** -0.5


def _tile(flat: Tensor, pool: Tensor, *, bound: float) -> None:
    """Fill `flat` [n] with the pool's values times `bound`, over and over."""
    scaled = pool * bound
    for start in range(0, flat.numel(), pool.numel()):
        chunk = flat[start : start + pool.numel()]
        chunk.copy_(scaled[: chunk.numel()])
