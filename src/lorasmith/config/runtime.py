"""Owns how a run uses the machine and what it keeps and shows while it goes on."""

import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from lorasmith.config.section import OneValuePerFlag, Section


class RuntimeConfig(Section):
    """On which machine and how."""

    seed: Annotated[int, Field(ge=0)] = 0
    """Every draw of the run follows from it."""

    device: str = "auto"
    """`cuda`, `mps`, `cpu`; `auto` takes the first of these that is there."""

    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Compute precision; adapters and new tokens stay fp32. `auto`: bf16 on CUDA where it works, else fp32."""

    gradient_checkpointing: bool = False
    """Compute activations twice to save memory."""

    max_grad_norm: Annotated[float, Field(gt=0)] | None = 1.0
    """Longest gradient of each part; None switches clipping off."""

    allow_tf32: bool = False
    """Let NVIDIA cards multiply fp32 matrices and convolve in TF32: faster, with ten bits after the point."""

    @field_validator("device")
    @classmethod
    def device_is_one_we_train_on(cls, device: str) -> str:
        """A misspelled device would be found out only after the pictures were read."""
        if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", device):
            raise ValueError("must be auto, cuda, cuda:N, mps or cpu")
        return device


class CheckpointConfig(Section):
    """What is kept to go on from."""

    every: Annotated[int, Field(ge=0)] = 250
    """Write a checkpoint every so many steps; 0 writes one only when stopped and at the end."""

    keep: Annotated[int, Field(ge=1)] = 2
    """How many checkpoints to keep."""


class ValidationConfig(Section):
    """What is drawn and measured while the run goes on."""

    prompts: Annotated[tuple[str, ...], OneValuePerFlag()] = ()
    """Prompts for validation pictures, one per flag; none are drawn when empty."""

    every: Annotated[int, Field(ge=0)] = 0
    """Draw and measure every so many steps; 0 means four times a run."""

    every_epochs: Annotated[int, Field(ge=1)] | None = None
    """Draw and measure every so many epochs instead; None goes by `every`."""

    count: Annotated[int, Field(ge=1)] = 2
    """Pictures per prompt."""

    steps: Annotated[int, Field(ge=1)] = 25
    """Sampling steps."""

    guidance: Annotated[float, Field(ge=0)] = 5.0
    """Guidance scale of validation pictures."""

    held_out: Annotated[int, Field(ge=0)] = 0
    """Instance images kept out of training and used for the fixed-noise validation loss."""


class OutputConfig(Section):
    """What comes out and where."""

    folder: Path = Path("lorasmith-run")
    """The run folder."""

    name: str | None = None
    """Name of the exported files; None means the run folder's name."""

    precision: Literal["fp32", "fp16", "bf16"] = "fp32"
    """Precision of the exported adapter."""

    baked_rank: Annotated[int, Field(ge=0, le=1024)] | None = None
    """Rank of the plain LoRA a DoRA is baked into for other programs; None: twice its own, at least 32; 0: no such."""
