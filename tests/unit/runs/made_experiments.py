# pyright: reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""Experiments on the tiny base with an examiner that reads exports without drawing."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from lorasmith.config.base import ModelConfig
from lorasmith.runs.trials import Scores, Trial

ARMS = """
[[arms]]
name = "usual"
reference = true

[[arms]]
name = "small"
options = { "adapter.rank" = 2 }
"""


@dataclass
class CountingExaminer:
    """Scores an export by how much its adapter holds; remembers what it was shown."""

    fingerprint: str = "tiny"
    protocol: str = "counting/1"
    seen: list[tuple[str, int]] = field(default_factory=list[tuple[str, int]])

    def base(self, config: ModelConfig) -> str:
        """Whatever the test says."""
        del config
        return self.fingerprint

    def examine(self, export: Path | None, trial: Trial, instance_images: Path) -> Scores:
        """The size of what was exported."""
        assert list(instance_images.glob("*.png"))
        self.seen.append((trial.concept.name, trial.seed))
        if export is None:
            return {"joint": 0.0}
        tensors = load_file(export / "pytorch_lora_weights.safetensors")
        return {"joint": float(sum(tensor.abs().sum() for tensor in tensors.values())), "size": float(len(tensors))}


def write_experiment(path: Path, base: Path, *, arms: str = ARMS, **changes: Any) -> Path:
    """A small experiment's file; two concepts, one seed and two steps unless told otherwise."""
    said: Mapping[str, Any] = {
        "name": "small",
        "question": "Does rank matter?",
        "concepts": ["teddy bear", "octopus"],
        "seeds": [0],
        "pictures": 3,
        **changes,
    }
    lines = [f"{name} = {json.dumps(value)}" for name, value in said.items()]
    options = f'[options]\n"model.base" = {json.dumps(str(base))}\n"schedule.steps" = 2\n"adapter.rank" = 4\n'
    path.write_text("\n".join(lines) + "\n" + options + arms, encoding="utf-8")
    return path
