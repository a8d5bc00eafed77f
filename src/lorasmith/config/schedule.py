"""Owns for how long and in what order things train; knows no picture count (the plan does)."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from lorasmith.config.section import Section

LrSchedule = Literal[
    "constant", "constant_with_warmup", "linear", "cosine", "cosine_with_restarts", "polynomial"
]  # fmt: skip


class ScheduleConfig(Section):
    """For how long and in what order."""

    steps: Annotated[int, Field(ge=1)] | Literal["auto"] | None = None
    """Optimizer updates; None takes `epochs`, else `steps_per_picture`. `auto` trains past the usual number and exports
    the best of about ten checkpoints on the way."""

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

    @property
    def chooses_its_steps(self) -> bool:
        """Whether the run ends beyond what is expected to be best and exports the best checkpoint."""
        return self.steps == "auto"

    @property
    def fixed_steps(self) -> int | None:
        """The number of updates, where one was said."""
        return None if self.steps == "auto" else self.steps

    @model_validator(mode="after")
    def auto_needs_rates_that_do_not_end(self) -> Self:
        """A rate that falls to zero at the last step makes every checkpoint but the last an unfinished one."""
        if self.chooses_its_steps and self.lr_schedule not in ("constant", "constant_with_warmup"):
            raise ValueError(f"steps = auto takes a constant rate; lr_schedule = {self.lr_schedule} wants a last step")
        return self
