# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# pyright: reportMissingTypeStubs=false
# prodigyplus has no types.
"""Owns schedule-free Prodigy through prodigy-plus-schedule-free: building it, and the two points it stands at.

Schedule-free optimizers (arXiv 2405.15682) know three points: z takes the steps, x is the weighted mean of the z and
is the one to be used, y = (1 − β1) z + β1 x lies between them and is where gradients are taken. The parameters are y
while they train and must be x wherever they are used: in pictures, measures and exports, and in a part that is frozen
beside parts that still train. A checkpoint keeps y and z; x follows from them.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lorasmith.config.optimizer import ScheduleFreeProdigyConfig

COUNTERS = (
    "k", "d", "d_prev", "d_numerator", "d_denom", "prev_d_numerator", "max_d_numerator",
    "weight_sum", "running_weight_sum", "effective_lr", "train_mode",
)  # fmt: skip
"""Numbers of its group that change from step to step; `train_mode` says whether the parameters are y."""


def build(
    parameters: Sequence[nn.Parameter], config: ScheduleFreeProdigyConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    """The optimizer over parameters that have their gradients already, and stand where they start."""
    from prodigyplus import ProdigyPlusScheduleFree  # an extra: `optim.extras` has refused a run without it

    optimizer = ProdigyPlusScheduleFree(
        parameters,
        lr=rate,
        betas=(config.beta1, config.beta2),
        beta3=config.beta3,
        eps=config.eps,
        weight_decay=weight_decay,
        d0=config.d0,
        d_coef=config.d_coef,
        d_limiter=config.d_limiter,
        use_stableadamw=config.use_stableadamw,
        factored=False,  # a flat buffer has no rows and columns
        split_groups=False,  # each part has an optimizer of its own
    )
    _estimate_in_fp32(optimizer)
    return optimizer


def stand_at_average(optimizer: Optimizer) -> None:
    """Put the parameters at x for good; nothing happens when they are there."""
    _library(optimizer).eval()


@contextmanager
def standing_at_average(optimizer: Optimizer) -> Generator[None]:
    """The parameters at x for a while, then back at y to the last bit.

    The way back is a copy: the library computes y from x and z again, which is not the same number, and a run that
    was looked at must go on like one that was not.
    """
    (group,) = optimizer.param_groups
    if not group["train_mode"]:
        yield
        return
    kept = [parameter.detach().clone() for parameter in group["params"]]
    stand_at_average(optimizer)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, training_point in zip(group["params"], kept, strict=True):
                parameter.copy_(training_point)
        group["train_mode"] = True


def _estimate_in_fp32(optimizer: Optimizer) -> None:
    """Keep in fp32 what the distance is estimated from: the first points p0 and the gradients' sums s.

    The library keeps both in bf16. Then a part seems to have gone a way before its first step (0.2 % of each weight,
    beside a first step of 1e-6), and a rescaling of p0 by less than that share is lost in rounding.
    """
    library = _library(optimizer)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            state = library.initialise_state(parameter, group)
            state["s"] = state["s"].float()
            state["p0"] = library.get_sliced_tensor(parameter).detach().clone()


def _library(optimizer: Optimizer) -> Any:
    """The optimizer with the methods that only this library has."""
    return optimizer
