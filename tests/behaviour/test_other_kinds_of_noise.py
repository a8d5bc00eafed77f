"""Runs on bases with EDM noise and with zero terminal SNR learn, draw and export like any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, Notice, StepDone, ValidationDone
from lorasmith.models.family import PredictionType
from lorasmith.runs.train import train
from lorasmith.testing import tiny_pipeline
from lorasmith.testing.tiny_pipeline import Noise

SmallConfig = Callable[..., TrainConfig]
KINDS: list[tuple[Noise, PredictionType]] = [
    ("edm", "epsilon"),
    ("edm", "v_prediction"),
    ("zero-terminal", "v_prediction"),
]
LEARNING: dict[str, Any] = {
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    "adapter": {"rank": 8, "targets": "attention+feed-forward"},
    "schedule": {"steps": 24, "batch_size": 2},
    "validation": {"held_out": 1, "every": 1, "count": 1, "steps": 2, "prompts": ("a photo of TOK",)},
}


@pytest.mark.parametrize(("noise", "prediction"), KINDS)
def test_a_run_learns_and_draws(
    small_config: SmallConfig, tmp_path: Path, noise: Noise, prediction: PredictionType
) -> None:
    base = tiny_pipeline(tmp_path / "base", noise=noise, prediction_type=prediction)
    sections = LEARNING | {"validation": LEARNING["validation"] | {"every": 23}}
    events: list[Event] = []
    folder = train(small_config(model={"base": str(base)}, **sections), emit=events.append)

    losses = [event.instance_loss for event in events if isinstance(event, StepDone)]
    assert sum(losses[-6:]) < 0.9 * sum(losses[:6])
    assert all(event.loss > 0 for event in events if isinstance(event, ValidationDone))
    assert len(list((folder / "samples").glob("*.png"))) >= 1
    assert (folder / "export" / "pytorch_lora_weights.safetensors").exists()


def test_edm_style_says_where_it_changes_nothing(small_config: SmallConfig, tmp_path: Path) -> None:
    config = small_config(objective={"edm_style": True}, schedule={"steps": 1, "batch_size": 1})
    events: list[Event] = []
    train(config, emit=events.append)
    assert any("changes nothing" in event.text for event in events if isinstance(event, Notice))
