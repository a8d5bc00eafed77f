"""Owns for how long and in what order things train; knows no picture count (the plan does)."""

from typing import Annotated, Literal

from pydantic import Field

from lorasmith.config.section import Section

LrSchedule = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
]  # fmt: skip


class ScheduleConfig(Section):
    """For how long and in what order."""

    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimizer updates; None takes `epochs`, else `steps_per_picture`."""

    epochs: Annotated[int, Field(ge=1)] | None = None
    """Passes over the pictures (with repeats); ignored when `steps` is given."""

    steps_per_picture: Annotated[int, Field(ge=1)] = 100
    """Optimizer updates per instance image when neither `steps` nor `epochs` is given."""

    min_steps: Annotated[int, Field(ge=1)] | None = None
    """Fewest updates `steps_per_picture` may come to; None: 500 on real bases, 100 on the embedded one."""

    max_steps: Annotated[int, Field(ge=1)] | None = None
    """Most updates `steps_per_picture` may come to; None: 1500 on real bases, 600 on the embedded one."""

    batch_size: Annotated[int, Field(ge=1)] = 2
    """Instance images in one forward and backward pass."""

    gradient_accumulation: Annotated[int, Field(ge=1)] = 1
    """Passes summed up into one update."""

    lr_schedule: LrSchedule = "constant"
    """How rates change over the run."""

    warmup_steps: Annotated[int, Field(ge=0)] = 0
    """Updates over which rates rise from zero (not with `constant`)."""

    lr_cycles: Annotated[int, Field(ge=1)] = 1
    """Restarts of `cosine_with_restarts`."""

    lr_power: Annotated[float, Field(gt=0)] = 1.0
    """Exponent of `polynomial`."""

    pivot: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Share of the run after which the new tokens stop training (0: they never train, 1: they train to the end)."""

    pivot_step: Annotated[int, Field(ge=0)] | None = None
    """The same as a step; overrides `pivot`."""

    text_encoder_fraction: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the run after which the text encoders' adapters stop training."""
