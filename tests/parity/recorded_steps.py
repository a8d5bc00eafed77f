"""Steps recorded with all that went into them, and the reading and writing of `recorded_steps.safetensors`.

Weights are not in the file: they are drawn from numpy's legacy generator, whose stream is frozen, by name and shape.
"""

# safetensors and torch are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import json
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lorasmith.data.batches import Batch
from lorasmith.models.family import LatentDistribution
from lorasmith.training.loop import Training
from lorasmith.training.step import StepDraws

FILE = Path(__file__).with_name("recorded_steps.safetensors")
_KEPT = 256
_SHAPE = (4, 8, 8)


@dataclass(frozen=True)
class Recorded:
    """One step: its captions and chance, and what the formulae gave; gradients as length and even samples."""

    captions: tuple[str, ...]
    tensors: dict[str, Tensor]

    def draws(self) -> StepDraws:
        """The step's noise and timesteps."""
        return StepDraws(*(self.tensors[name] for name in ("posterior", "noise", "offsets", "timesteps")))

    def batch(self, like: Batch) -> Batch:
        """The recorded latents and captions as a batch with the roles and sizes of another."""
        draws = tuple(
            replace(draw, example=replace(draw.example, caption=caption))
            for draw, caption in zip(like.draws, self.captions, strict=True)
        )
        return replace(like, draws=draws, latents=LatentDistribution(self.tensors["mean"], self.tensors["std"]))


def new_inputs(batch: Batch) -> Recorded:
    """Fresh inputs for a batch's captions, not yet with results."""
    stream = np.random.RandomState(29)
    count = len(batch.draws)

    def normal(*shape: int) -> Tensor:
        return torch.from_numpy(stream.standard_normal((count, *shape)).astype(np.float32))

    tensors = {
        "mean": normal(*_SHAPE),
        "std": normal(*_SHAPE).abs() * 0.1,
        "posterior": normal(*_SHAPE),
        "noise": normal(*_SHAPE),
        "offsets": normal(_SHAPE[0], 1, 1),
        "timesteps": torch.tensor([57, 905, 333, 640][:count]),
    }
    return Recorded(batch.captions, tensors)


def sketch(gradient: Tensor) -> Tensor:
    """A gradient's length, then entries of it at even distances."""
    return torch.cat([gradient.norm()[None], gradient[:: max(1, gradient.numel() // _KEPT)][:_KEPT]])


def set_weights(training: Training) -> None:
    """The same weights in every version of every library, in the base and in what trains."""
    for name, module in training.family.parts.items():
        for key, parameter in module.named_parameters():
            _fill(parameter, f"{name}.{key}")
    for name, part in training.parts.items():
        _fill(part.buffer, name, spread=0.1)


def _fill(parameter: nn.Parameter, name: str, *, spread: float | None = None) -> None:
    drawn = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(parameter.numel()).astype(np.float32)
    values = torch.from_numpy(drawn).view(parameter.shape)
    with torch.no_grad():
        if spread is not None:
            parameter.copy_(values * spread)
        elif parameter.ndim > 1:
            parameter.copy_(values / parameter[0].numel() ** 0.5)
        else:
            parameter.copy_(values * 0.1 + (1.0 if name.endswith("weight") else 0.0))


def read_recorded(case: str) -> Recorded:
    """One case of the file."""
    with safe_open(FILE, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
        names = [name for name in file.keys() if name.startswith(f"{case}/")]  # noqa: SIM118
        captions = json.loads(file.metadata()["captions"])[case]
        return Recorded(tuple(captions), {name.removeprefix(f"{case}/"): file.get_tensor(name) for name in names})


def write_recorded(case: str, recorded: Recorded) -> None:
    """Put one case into the file, beside those that are there."""
    captions: dict[str, list[str]] = {}
    tensors: dict[str, Tensor] = {}
    if FILE.exists():
        with safe_open(FILE, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            captions = json.loads(file.metadata()["captions"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    captions[case] = list(recorded.captions)
    kept = {name: value for name, value in tensors.items() if not name.startswith(f"{case}/")}
    added = {f"{case}/{name}": value.clone().contiguous() for name, value in recorded.tensors.items()}
    save_file(kept | added, FILE, metadata={"captions": json.dumps(captions)})
