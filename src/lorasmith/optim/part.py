# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# prodigyopt has no types, and torch's are partial.
"""Owns the optimizer of one part, over one flat fp32 buffer; knows no other part.

Prodigy's distance estimate is one number per optimizer, so parts that share one share their step size, and a group
whose rate is set to zero still moves (prodigyopt updates every group; upstream prodigy #3, #16). A part of its own
has its own estimate, its own rate, and is frozen by not being stepped.
"""

import contextlib
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, assert_never

import torch
from prodigyopt import Prodigy
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import AdamW, Optimizer

from lorasmith.config.optimizer import AdamWConfig, ProdigyConfig

_FROM_CONFIG = frozenset({"params", "lr", "betas", "beta3", "eps", "weight_decay", "growth_rate", "foreach", "fused"})


@dataclass(frozen=True)
class OptimizerState:
    """What an optimizer remembers: tensors by name, and plain numbers."""

    tensors: dict[str, Tensor]
    numbers: dict[str, dict[str, Any]]


class PartOptimizer:
    """One part's parameters in one flat buffer, with the optimizer that steps it.

    The parameters become views into the buffer and their gradients views into another one, so that clipping and
    stepping cost a few operations instead of a few per tensor. Create it after the part is on its device.
    """

    def __init__(
        self,
        name: str,
        parameters: Mapping[str, nn.Parameter],
        config: AdamWConfig | ProdigyConfig,
        *,
        rate: float,
        weight_decay: float,
    ) -> None:
        self.name = name
        self.rate = rate
        self.parameters = dict(parameters)
        self.buffer = nn.Parameter(torch.cat([p.data.flatten() for p in self.parameters.values()]))
        self.buffer.grad = torch.zeros_like(self.buffer)
        self.optimizer = build_optimizer(self.buffer, config, rate=rate, weight_decay=weight_decay)
        self._point_into_buffer()

    def set_trainable(self, *, trainable: bool) -> None:
        """Whether gradients are computed for this part at all."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(trainable)

    def zero_gradient(self) -> None:
        """Forget the last step's gradient."""
        self.gradient.zero_()

    @property
    def gradient(self) -> Tensor:
        """The part's whole gradient, flat."""
        assert self.buffer.grad is not None  # held since the start
        return self.buffer.grad

    def clip_gradient(self, longest: float | None) -> float:
        """The gradient's length; scaled down to `longest` where it is longer."""
        norm = self.gradient.norm()
        if longest is not None:
            self.gradient.mul_((longest / (norm + 1e-6)).clamp(max=1.0))
        return norm.item()

    def step(self, multiplier: float, scaler: GradScaler | None = None) -> None:
        """One update at the part's rate times `multiplier`; under a scaler, none when a gradient overflowed."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate * multiplier
        if scaler is None:
            self.optimizer.step()
        else:
            scaler.step(self.optimizer)

    @torch.no_grad()
    def rescale(self, factor: float) -> None:
        """Multiply the parameters, and with them the point that Prodigy measures its distance from.

        Prodigy compares gradients with the way from its first point. A rescaling of the parameters alone looks like a
        way of that length: at the first steps it drowns the real one, and d never grows, or grows from nothing.
        """
        self.buffer.mul_(factor)
        first_point = self.optimizer.state[self.buffer].get("p0")
        if first_point is not None:
            first_point.mul_(factor)

    @property
    def distance(self) -> float | None:
        """Prodigy's estimate d; None with other optimizers."""
        found = self.optimizer.param_groups[0].get("d")
        return None if found is None else float(found)

    @property
    def has_had_gradient(self) -> bool:
        """Whether any gradient an update was made from was not zero, in this process or before a stop."""
        squares = self.optimizer.state[self.buffer].get("exp_avg_sq")
        return squares is not None and bool(squares.any())

    def effective_rate(self, multiplier: float) -> float:
        """The rate an update really has: d·lr under Prodigy, lr otherwise."""
        return self.rate * multiplier * (1.0 if self.distance is None else self.distance)

    def capture(self) -> OptimizerState:
        """All that the next update depends on besides weights and config."""
        state = self.optimizer.state[self.buffer]
        tensors = {key: value for key, value in state.items() if isinstance(value, Tensor)}
        numbers = {key: value for key, value in state.items() if not isinstance(value, Tensor)}
        group = {key: value for key, value in self.optimizer.param_groups[0].items() if key not in _FROM_CONFIG}
        return OptimizerState(tensors, {"state": numbers, "group": group})

    def restore(self, saved: OptimizerState) -> None:
        """Put a captured state back."""
        # Copied, since what was read from a file is a window onto it, wherever in memory that begins.
        tensors = {key: value.to(self.buffer.device, copy=True) for key, value in saved.tensors.items()}
        if "step" in tensors:
            tensors["step"] = tensors["step"].cpu()  # AdamW keeps its counter on the CPU
        self.optimizer.state[self.buffer] = {**tensors, **saved.numbers["state"]}
        self.optimizer.param_groups[0].update(saved.numbers["group"])

    @torch.no_grad()
    def load_parameters(self, values: Mapping[str, Tensor]) -> None:
        """Copy saved values into the parameters, by name."""
        for name, parameter in self.parameters.items():
            parameter.copy_(values[name])

    def _point_into_buffer(self) -> None:
        start = 0
        for parameter in self.parameters.values():
            end = start + parameter.numel()
            parameter.data = self.buffer.data[start:end].view_as(parameter)
            parameter.grad = self.gradient[start:end].view_as(parameter)
            start = end


def build_optimizer(
    buffer: nn.Parameter, config: AdamWConfig | ProdigyConfig, *, rate: float, weight_decay: float
) -> Optimizer:
    """The optimizer a config names, over one buffer."""
    match config:
        case AdamWConfig():
            return AdamW(
                [buffer], lr=rate, betas=(config.beta1, config.beta2), eps=config.eps, weight_decay=weight_decay
            )
        case ProdigyConfig():
            with contextlib.redirect_stdout(io.StringIO()):  # prodigyopt prints that its weight decay is decoupled
                return Prodigy(
                    [buffer],
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
        case other:
            assert_never(other)
