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


OptimizerConfig = Annotated[AdamWConfig | ProdigyConfig, Field(discriminator="name")]


class RatesConfig(Section):
    """Learning rates of the other parts; None means: Prodigy's own rate, or AdamW's usual share of the main rate."""

    new_tokens_1: Annotated[float, Field(ge=0)] | None = None
    """Rate of the first text encoder's new tokens; 0 leaves them as they start."""

    new_tokens_2: Annotated[float, Field(ge=0)] | None = None
    """Rate of the second text encoder's new tokens; 0 leaves them as they start."""

    text_encoder_1: Annotated[float, Field(ge=0)] | None = None
    """Rate of the first text encoder's adapter."""

    text_encoder_2: Annotated[float, Field(ge=0)] | None = None
    """Rate of the second text encoder's adapter."""
