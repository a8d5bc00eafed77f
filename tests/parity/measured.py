"""What a measured difference is, and a run on the tiny base to measure it in."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from lorasmith.config.base import ModelConfig
from lorasmith.config.train import TrainConfig
from lorasmith.events import ignore
from lorasmith.models.sdxl.components import open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs import pictures as run_pictures
from lorasmith.sizes import Size
from lorasmith.testing import pictures
from lorasmith.training.assemble import assemble
from lorasmith.training.loop import Training
from lorasmith.training.precision import resolve_precision

CPU = torch.device("cpu")
COLOURS = ("red", "green", "blue", "white", "black", "brown", "pink", "grey")


@dataclass(frozen=True)
class Difference:
    """A number of the script's and lorasmith's for the same thing, shown with so many digits behind the point."""

    row: str
    what: str
    script: float
    lorasmith: float
    digits: int = 0

    @property
    def shown(self) -> tuple[str, str]:
        """Both numbers as they stand on the page."""
        return self._shown(self.script), self._shown(self.lorasmith)

    def _shown(self, value: float) -> str:
        return "NaN" if math.isnan(value) else f"{value:,.{self.digits}f}"


@dataclass(frozen=True)
class Bench:
    """A tiny base and an empty folder to measure in."""

    base: Path
    folder: Path

    def config(self, count: int = 4, size: Size = Size(64, 64), **sections: dict[str, Any]) -> TrainConfig:
        """A run on `count` pictures, each with a caption of its own."""
        folder = self.folder / f"pictures-{count}-{size.width}"
        if not folder.exists():
            pictures(folder, count, size=size, captions=[f"a photo of TOK in {colour}" for colour in COLOURS])
        plain: dict[str, dict[str, Any]] = {
            "model": {"base": str(self.base)},
            "data": {"instance_images": folder, "cache_folder": self.folder / "latents"},
            "adapter": {"rank": 4},
            "schedule": {"steps": 8, "batch_size": 2},
            "output": {"folder": self.folder / "run"},
        }
        merged = {name: plain.get(name, {}) | sections.get(name, {}) for name in (*plain, *sections)}
        return TrainConfig.model_validate(merged)

    def family(self, dtype: torch.dtype = torch.float32) -> Sdxl:
        """The base as the trainer sees it."""
        return Sdxl(open_components(ModelConfig(base=str(self.base)), dtype=dtype), device=CPU)

    def run(self, config: TrainConfig) -> Training:
        """The run before its first step."""
        precision = resolve_precision(config.runtime.precision, CPU)
        components = open_components(config.model, dtype=precision.dtype)
        family = Sdxl(components, device=CPU, reading=config.text)
        instance = run_pictures.instance_images(config, ignore)
        sets = run_pictures.deal(config, instance, self._class_images(config), 64)
        return assemble(config, family, sets, steps=config.schedule.fixed_steps or 8, precision=precision)

    def _class_images(self, config: TrainConfig) -> Any:
        if config.prior is None:
            return ()
        folder = self.folder / "class"
        pictures(folder, config.prior.num_class_images)
        return run_pictures.class_images(config, folder)


Measure = Callable[[Bench], Sequence[Difference]]


def share(hits: Sequence[bool]) -> float:
    """How many of them are so, 0…1."""
    return sum(hits) / len(hits)


def cosine(first: torch.Tensor, second: torch.Tensor) -> float:
    """Between two vectors [1, n]."""
    return torch.cosine_similarity(first.detach(), second.detach()).item()
