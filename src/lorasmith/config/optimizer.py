"""Owns the optimizers' options as a tagged union, so that no option can be given to the wrong one."""

from typing import Annotated, Literal

from pydantic import Field

from lorasmith.config.section import Section


class AdamWConfig(Section):
    """AdamW (arXiv 1711.05101)."""

    name: Literal["adamw"] = "adamw"
    """Which optimizer."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Rate of the denoiser's adapter; other parts: see `rates`."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the gradient's running mean."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """Decay of the squared gradient's running mean."""

    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decoupled weight decay of the adapters."""

    text_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the new tokens and of the text encoders' adapters; None means `weight_decay`, 0 is none."""

    eight_bit: bool = False
    """Keep what the adapters' optimizers remember in 8 bits (bitsandbytes, `lorasmith[gpu]`); new tokens keep 32."""


class ProdigyConfig(Section):
    """Prodigy (arXiv 2306.06101), which finds its own step size; one instance per part."""

    name: Literal["prodigy"] = "prodigy"
    """Which optimizer."""

    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies the step size Prodigy finds; 1.0 is meant."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Decay of the gradient's running mean."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the squared gradient's running mean."""

    beta3: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the step-size estimate's sums; None means √beta2."""

    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of the adapters."""

    text_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the new tokens and of the text encoders' adapters; None means `weight_decay`, 0 is none."""

    decouple: bool = True
    """Decoupled weight decay, as in AdamW."""

    use_bias_correction: bool = True
    """Adam's bias correction."""

    safeguard_warmup: bool = True
    """Keep the warm-up's small rates out of the step-size estimate."""

    d0: Annotated[float, Field(gt=0)] = 1e-6
    """First step-size estimate."""

    d_coef: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies the step-size estimate; the way to tune Prodigy (0.5 to 2)."""

    growth_rate: Annotated[float, Field(gt=1)] | None = None
    """Most the estimate may grow in one step; None means no bound."""


class AdafactorConfig(Section):
    """Adafactor (arXiv 1804.04235) at a fixed rate, which remembers a row and a column for each matrix."""

    name: Literal["adafactor"] = "adafactor"
    """Which optimizer."""

    learning_rate: Annotated[float, Field(gt=0)] = 1e-4
    """Rate of the denoiser's adapter; other parts: see `rates`."""

    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the update's running mean; 0 keeps none, which is where the memory is saved."""

    decay_rate: Annotated[float, Field(lt=0)] = -0.8
    """How fast squared gradients are forgotten: step t keeps 1 − t^rate of them."""

    square_floor: Annotated[float, Field(gt=0)] = 1e-30
    """Added to squared gradients."""

    clip_threshold: Annotated[float, Field(gt=0)] = 1.0
    """Longest update of a matrix, as root mean square before the rate."""

    scale_parameter: bool = False
    """Multiply the rate by the root mean square of each matrix; slow on LoRA, whose up-weights start at zero."""

    scale_floor: Annotated[float, Field(gt=0)] = 1e-3
    """Least root mean square that `scale_parameter` multiplies by."""

    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """Decoupled weight decay of the adapters."""

    text_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the new tokens and of the text encoders' adapters; None means `weight_decay`, 0 is none."""


class ScheduleFreeProdigyConfig(Section):
    """Prodigy with schedule-free averaging (arXiv 2405.15682): what is used is the mean of the points it went through.

    Needs the package prodigy-plus-schedule-free (`lorasmith[schedule-free]`).
    """

    name: Literal["schedule_free_prodigy"] = "schedule_free_prodigy"
    """Which optimizer."""

    learning_rate: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies the step size it finds; 1.0 is meant."""

    beta1: Annotated[float, Field(gt=0, lt=1)] = 0.9
    """How near the mean the gradient is taken: 0 is where the last step led, 1 the mean itself."""

    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.99
    """Decay of the squared gradient's running mean."""

    beta3: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Decay of the step-size estimate's sums; None means √beta2."""

    eps: Annotated[float, Field(gt=0)] = 1e-8
    """Added to the denominator."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Decoupled weight decay of the adapters."""

    text_weight_decay: Annotated[float, Field(ge=0)] | None = None
    """Weight decay of the new tokens and of the text encoders' adapters; None means `weight_decay`, 0 is none."""

    d0: Annotated[float, Field(gt=0)] = 1e-6
    """First step-size estimate."""

    d_coef: Annotated[float, Field(gt=0)] = 1.0
    """Multiplies the step-size estimate; the way to tune Prodigy (0.5 to 2)."""

    d_limiter: bool = True
    """Let the step-size estimate grow by no more than a fifth in one step."""

    use_stableadamw: bool = True
    """Shorten updates whose root mean square is above one, such as the first ones."""


OptimizerConfig = Annotated[
    AdamWConfig | ProdigyConfig | AdafactorConfig | ScheduleFreeProdigyConfig, Field(discriminator="name")
]


class RatesConfig(Section):
    """Learning rates of the other parts; None means: Prodigy's own rate, or the usual share of the main rate."""

    new_tokens_1: Annotated[float, Field(ge=0)] | None = None
    """Rate of the first text encoder's new tokens; 0 leaves them as they start."""

    new_tokens_2: Annotated[float, Field(ge=0)] | None = None
    """Rate of the second text encoder's new tokens; 0 leaves them as they start."""

    text_encoder_1: Annotated[float, Field(ge=0)] | None = None
    """Rate of the first text encoder's adapter."""

    text_encoder_2: Annotated[float, Field(ge=0)] | None = None
    """Rate of the second text encoder's adapter."""
