"""Owns the compute precision: which dtype frozen weights have, autocast, and fp16's gradient scaling."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.amp.grad_scaler import GradScaler

from lorasmith.errors import ConfigError

PrecisionName = Literal["fp32", "bf16", "fp16"]
_DTYPES: dict[PrecisionName, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """How a run computes on one kind of device; adapters and new tokens are fp32 whatever it says."""

    name: PrecisionName
    device_type: str

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of frozen weights and of matrix products."""
        return _DTYPES[self.name]

    @contextmanager
    def autocast(self) -> Generator[None]:
        """Compute inside the block in this precision; nothing changes in fp32."""
        with torch.autocast(self.device_type, dtype=self.dtype, enabled=self.name != "fp32"):
            yield

    def gradient_scaler(self) -> GradScaler | None:
        """fp16's scaler, without which small gradients become zero; None otherwise."""
        return GradScaler(self.device_type, init_scale=2.0**16) if self.name == "fp16" else None


@contextmanager
def tf32(*, allowed: bool) -> Generator[None]:
    """Multiply fp32 matrices and convolve in TF32, or in fp32 proper, inside the block; as it was before after it.

    The switches belong to the whole process, so a run must not leave them to the next one. torch lets convolutions
    use TF32 unless told otherwise, which fp32 does not mean here.
    """
    matmul, convolutions = _allows_tf32(torch.backends.cuda.matmul), _allows_tf32(torch.backends.cudnn)
    _allow_tf32(matmul=allowed, convolutions=allowed)
    try:
        yield
    finally:
        _allow_tf32(matmul=matmul, convolutions=convolutions)


def _allow_tf32(*, matmul: bool, convolutions: bool) -> None:
    # The older of torch's two interfaces: it sets both, while setting the newer one makes reading the older one fail.
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions


def _allows_tf32(backend: Any) -> bool:
    try:
        return bool(backend.allow_tf32)
    except RuntimeError:  # somebody used torch's newer interface
        return getattr(backend, "fp32_precision", "ieee") == "tf32"


def resolve_precision(wanted: Literal["auto", "fp32", "bf16", "fp16"], device: torch.device) -> Precision:
    """`auto`: bf16 where a CUDA device has it, else fp32."""
    if wanted != "auto":
        return Precision(wanted, device.type)
    has_bf16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
    return Precision("bf16" if has_bf16 else "fp32", device.type)


def resolve_device(wanted: str, *, where: str = "runtime.device") -> torch.device:
    """`auto`: CUDA, then Apple's, then the CPU. Raises ConfigError for a device that is not here."""
    cuda = [f"cuda:{number}" for number in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    mps = ["mps"] if torch.backends.mps.is_available() else []
    here = [*(["cuda"] if cuda else []), *mps, "cpu"]
    if wanted == "auto":
        return torch.device(here[0])
    if wanted not in (*here, *cuda):
        raise ConfigError(
            f"there is no device {wanted!r} on this machine", where=where,
            remedy=f"Use auto, {' or '.join(here)}.",
        )  # fmt: skip
    return torch.device(wanted)
