# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# torch's types are partial.
"""Owns the optimizer of one part, whichever kind it is, over one flat fp32 buffer; knows no other part.

Prodigy's distance estimate is one number per optimizer, so parts that share one share their step size, and a group
whose rate is set to zero still moves (prodigyopt updates every group; upstream prodigy #3, #16). A part of its own
has its own estimate, its own rate, and is frozen by not being stepped.
"""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.amp.grad_scaler import GradScaler

from lorasmith.config.optimizer import OptimizerConfig
from lorasmith.optim import schedule_free
from lorasmith.optim.kinds import build_optimizer, kind_of


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
        config: OptimizerConfig,
        *,
        rate: float,
        weight_decay: float,
    ) -> None:
        self.name = name
        self.rate = rate
        self.parameters = dict(parameters)
        self.buffer = nn.Parameter(torch.cat([p.data.flatten() for p in self.parameters.values()]))
        self.buffer.grad = torch.zeros_like(self.buffer)
        self._point_into_buffer()
        self._kind = kind_of(config)
        self._stepped = self.parameters if self._kind.reads_matrices else {"": self.buffer}
        stepped = list(self._stepped.values())
        self.optimizer = build_optimizer(stepped, config, rate=rate, weight_decay=weight_decay)

    def set_trainable(self, *, trainable: bool) -> None:
        """Whether gradients are computed for this part at all. A part that is frozen stands where it is to be used."""
        for parameter in self.parameters.values():
            parameter.requires_grad_(trainable)
        if not trainable and self._kind.averages:
            schedule_free.stand_at_average(self.optimizer)

    @contextmanager
    def as_used(self) -> Generator[None]:
        """The parameters as they would be exported now, for looking at them; afterwards they are as they were."""
        if not self._kind.averages:
            yield
            return
        with schedule_free.standing_at_average(self.optimizer):
            yield

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
        """Multiply the parameters, and with them every point that the optimizer keeps.

        Prodigy compares gradients with the way from its first point. A rescaling of the parameters alone looks like a
        way of that length: at the first steps it drowns the real one, and d never grows, or grows from nothing.
        """
        self.buffer.mul_(factor)
        for state in self._states():
            for point in (state[name] for name in self._kind.points if name in state):
                point.mul_(factor)

    @property
    def distance(self) -> float | None:
        """Prodigy's estimate d; None with other optimizers."""
        found = self.optimizer.param_groups[0].get("d")
        return None if found is None else float(found)

    @property
    def has_had_gradient(self) -> bool:
        """Whether any gradient an update was made from was not zero, in this process or before a stop."""
        kept = [next((state[name] for name in self._kind.squares if name in state), None) for state in self._states()]
        return any(bool((squares > self._kind.floor).any()) for squares in kept if squares is not None)

    def effective_rate(self, multiplier: float) -> float:
        """The rate an update really has: d·lr under Prodigy, lr otherwise."""
        return self.rate * multiplier * (1.0 if self.distance is None else self.distance)

    def capture(self) -> OptimizerState:
        """All that the next update depends on besides weights and config."""
        states = zip(self._stepped, self._states(), strict=True)
        kept = {_joined(name, key): value for name, state in states for key, value in state.items()}
        (group,) = self.optimizer.param_groups
        return OptimizerState(
            tensors={key: value for key, value in kept.items() if isinstance(value, Tensor)},
            numbers={
                "state": {key: value for key, value in kept.items() if not isinstance(value, Tensor)},
                "group": {key: group[key] for key in self._kind.counters if key in group},
            },
        )

    def restore(self, saved: OptimizerState) -> None:
        """Put a captured state back."""
        states: dict[str, dict[str, Any]] = {name: {} for name in self._stepped}
        for joined, value in {**saved.tensors, **saved.numbers["state"]}.items():
            name, _, key = joined.rpartition("/")
            states[name][key] = self._placed(key, value) if isinstance(value, Tensor) else value
        for name, stepped in self._stepped.items():
            self.optimizer.state[stepped] = states[name]
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

    def _states(self) -> list[dict[str, Any]]:
        """What the optimizer remembers of each tensor it steps; empty before its first update."""
        return [self.optimizer.state[stepped] for stepped in self._stepped.values()]

    def _placed(self, key: str, tensor: Tensor) -> Tensor:
        """A tensor of a captured state where the optimizer wants it."""
        # Copied, since what was read from a file is a window onto it, wherever in memory that begins.
        # AdamW keeps its counter on the CPU.
        return tensor.to("cpu" if key == "step" else self.buffer.device, copy=True)


def _joined(name: str, key: str) -> str:
    """The name of one remembered thing in a captured state: by its tensor where there are several."""
    return f"{name}/{key}" if name else key
