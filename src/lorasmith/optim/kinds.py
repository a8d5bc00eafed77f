# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# prodigyopt and prodigyplus have no types; torch's, transformers' and bitsandbytes' are partial.
"""Owns what differs between optimizers: how each is built, and what it remembers under which names; steps none."""

import contextlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from prodigyopt import Prodigy
from torch import nn
from torch.optim import AdamW, Optimizer
from transformers.optimization import Adafactor

from lorasmith.config.optimizer import (
    AdafactorConfig,
    AdamWConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeProdigyConfig,
)
from lorasmith.optim import schedule_free


@dataclass(frozen=True)
class Kind:
    """What one kind of optimizer remembers, by the names it gives to it."""

    squares: tuple[str, ...]
    """Running sums of squared gradients; the first that a state has tells whether there ever was a gradient."""

    floor: float = 0.0
    """What those sums may reach without any gradient."""

    points: tuple[str, ...] = ()
    """Points in the parameters' own space: they move along when the parameters are rescaled."""

    counters: tuple[str, ...] = ()
    """Numbers of the whole part that change from step to step."""

    reads_matrices: bool = False
    """Whether it must see each tensor in its shape; the others step one flat buffer, in far fewer operations."""

    averages: bool = False
    """Whether the point to be used is not the one that gradients are taken at; see `schedule_free`."""


def kind_of(config: OptimizerConfig) -> Kind:
    """What the optimizer that a config names remembers."""
    match config:
        case AdamWConfig(eight_bit=True):
            # A sum kept in 8 bits is a share of its block's largest; small parts stay in 32 and have no `absmax2`.
            return Kind(squares=("absmax2", "state2"))
        case AdamWConfig():
            return Kind(squares=("exp_avg_sq",))
        case ProdigyConfig():
            counters = ("k", "d", "d_max", "d_hat", "d_numerator", "d_denom")
            return Kind(squares=("exp_avg_sq",), points=("p0",), counters=counters)
        case AdafactorConfig(square_floor=added):
            return Kind(squares=("exp_avg_sq_row", "exp_avg_sq"), floor=1.001 * added, reads_matrices=True)
        case ScheduleFreeProdigyConfig():
            return Kind(squares=("exp_avg_sq",), points=("p0", "z"), counters=schedule_free.COUNTERS, averages=True)
        case _:
            assert_never(config)


def build_optimizer(
    parameters: Sequence[nn.Parameter], config: OptimizerConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    """The optimizer a config names, over one flat buffer or, where its kind reads matrices, over each tensor."""
    match config:
        case AdamWConfig(eight_bit=True):
            return _adamw_in_8_bits(parameters, config, rate=rate, weight_decay=weight_decay)
        case AdamWConfig():
            betas = (config.beta1, config.beta2)
            return AdamW(parameters, lr=rate, betas=betas, eps=config.eps, weight_decay=weight_decay)
        case ProdigyConfig():
            return _prodigy(parameters, config, rate=rate, weight_decay=weight_decay)
        case AdafactorConfig():
            return _adafactor(parameters, config, rate=rate, weight_decay=weight_decay)
        case ScheduleFreeProdigyConfig():
            return schedule_free.build(parameters, config, rate=rate, weight_decay=weight_decay)
        case _:
            assert_never(config)


def _adamw_in_8_bits(
    parameters: Sequence[nn.Parameter], config: AdamWConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    """State in blocks of 256 numbers of 8 bits under one fp32 scale; under 4,096 numbers it stays in 32 bits."""
    from bitsandbytes.optim import AdamW8bit  # an extra: `optim.extras` has refused a run without it

    betas = (config.beta1, config.beta2)
    return AdamW8bit(parameters, lr=rate, betas=betas, eps=config.eps, weight_decay=weight_decay)


def _prodigy(
    parameters: Sequence[nn.Parameter], config: ProdigyConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    with contextlib.redirect_stdout(io.StringIO()):  # prodigyopt prints that its weight decay is decoupled
        return Prodigy(
            parameters,
            lr=rate,
            betas=(config.beta1, config.beta2),
            beta3=config.beta3,  # pyright: ignore[reportArgumentType]  # None is its default
            eps=config.eps,
            weight_decay=weight_decay,  # pyright: ignore[reportArgumentType]  # annotated int, meant float
            decouple=config.decouple,
            use_bias_correction=config.use_bias_correction,
            safeguard_warmup=config.safeguard_warmup,
            d0=config.d0,
            d_coef=config.d_coef,
            growth_rate=config.growth_rate or float("inf"),
        )


def _adafactor(
    parameters: Sequence[nn.Parameter], config: AdafactorConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    """transformers' Adafactor. torch's always scales the rate by the matrix, so that up-weights hardly leave zero.

    Its relative steps are left off, since rates and their schedule are ours: min(0.01, 1/√t) is 0.01 for ten thousand
    steps, which a rate of 0.01 says as well.
    """
    return Adafactor(
        parameters,
        lr=rate,
        eps=(config.square_floor, config.scale_floor),
        clip_threshold=config.clip_threshold,
        decay_rate=config.decay_rate,
        beta1=config.beta1 or None,
        weight_decay=weight_decay,
        scale_parameter=config.scale_parameter,
        relative_step=False,
    )
