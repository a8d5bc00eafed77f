"""Owns the complete list of what a run resumes from; writes nothing itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.amp.grad_scaler import GradScaler

from lorasmith.optim.part import OptimizerState, PartOptimizer


@dataclass(frozen=True)
class TrainingState:
    """Everything that the steps after `step` depend on, besides config and pictures.

    There are no random states in it: every draw is counted (see `lorasmith.rng`).
    """

    step: int
    weights: dict[str, dict[str, Tensor]]
    optimizers: dict[str, OptimizerState]
    scaler: dict[str, Any] | None


def capture(step: int, parts: Mapping[str, PartOptimizer], scaler: GradScaler | None) -> TrainingState:
    """The state after `step` finished updates."""
    return TrainingState(
        step=step,
        weights={name: {key: value.data for key, value in part.parameters.items()} for name, part in parts.items()},
        optimizers={name: part.capture() for name, part in parts.items()},
        scaler=None if scaler is None else scaler.state_dict(),
    )


def restore(state: TrainingState, parts: Mapping[str, PartOptimizer], scaler: GradScaler | None) -> None:
    """Put a state back into freshly assembled parts."""
    for name, part in parts.items():
        part.load_parameters(state.weights[name])
        part.restore(state.optimizers[name])
    if scaler is not None and state.scaler is not None:
        scaler.load_state_dict(state.scaler)
