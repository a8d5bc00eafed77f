"""Owns the files of small weights, fp16 safetensors, written and read back checked; refuses pickles."""
# pyright: reportUnknownVariableType=false
# safetensors names paths without their type parameter.

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from ..errors import DataError


def read_weights(path: Path, layers: nn.Module, *, what: str) -> None:
    """Fill `layers` from `path`; a DataError that names the file when it is missing or holds something else."""
    if not path.is_file():
        raise DataError(f"{what} is not at {path}", remedy="Give a file that the builder wrote.")
    try:
        tensors = load_file(path)
    except SafetensorError as unreadable:
        raise DataError(f"{path} is no safetensors file: {unreadable}") from unreadable
    wanted = layers.state_dict()
    wrong = sorted(
        {*wanted} ^ {*tensors} | {name for name in {*wanted} & {*tensors} if wanted[name].shape != tensors[name].shape}
    )
    if wrong:
        raise DataError(f"{path} does not hold {what}: {len(wrong)} tensors differ, {wrong[0]} among them")
    layers.load_state_dict({name: tensor.to(wanted[name].dtype) for name, tensor in tensors.items()})


def write_weights(path: Path, layers: nn.Module) -> int:
    """Write `layers`, its floating point numbers as fp16; the bytes written."""
    tensors = {
        name: (tensor.to(torch.float16) if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in layers.state_dict().items()
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata={"format": "pt"})
    return path.stat().st_size
