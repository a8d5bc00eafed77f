"""Owns writing a pipeline out as community checkpoints are: one safetensors file in sgm's names; reads none back."""

# diffusers and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from lorasmith.models.sdxl.sgm_writing import sgm_tensors


def write_sgm_file(
    pipeline: Any, path: Path, *, markers: Mapping[str, Tensor] | None = None, metadata: dict[str, str] | None = None
) -> Path:
    """Write a pipeline's weights to one file, with `markers` (such as an empty `v_pred`) beside them."""
    tensors = {name: tensor.contiguous() for name, tensor in sgm_tensors(pipeline).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({**tensors, **(markers or {})}, path, metadata={"format": "pt", **(metadata or {})})
    return path
