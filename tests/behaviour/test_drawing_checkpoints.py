# pyright: reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""A run's checkpoints drawn side by side: each is the run as it stood then, and the last is the export."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.runs.generate import GenerateRequest, generate
from lorasmith.runs.train import train

KINDS: Mapping[str, Mapping[str, Any]] = {
    "lora": {"adapter": {"rank": 4, "alpha": 8}},
    "dora": {"adapter": {"rank": 4, "kind": "dora"}, "tokens": {"enabled": False}},
}
FAST = {"name": "adamw", "learning_rate": 0.1}


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_is_drawn_as_it_stood_and_the_last_one_as_the_export(
    small_config: Callable[..., TrainConfig], tmp_path: Path, kind: str
) -> None:
    config = small_config(
        **KINDS[kind],
        schedule={"steps": 4},
        checkpoint={"every": 2, "keep": 2},
        optimizer=FAST,
    )
    run = train(config)
    request = GenerateRequest(run, "a TOK dog", count=1, seed=1, steps=2, checkpoint=("all",), out=tmp_path / "out")
    drawn = {path.stem: pixels(path) for path in generate(request).pictures}
    assert list(drawn) == ["seed-1-step-2", "seed-1-step-4", "seed-1-final"]
    assert np.abs(drawn["seed-1-step-4"] - drawn["seed-1-final"]).max() <= 1
    assert np.abs(drawn["seed-1-step-2"] - drawn["seed-1-final"]).max() > 4
    text = Image.open(tmp_path / "out" / "seed-1-step-2.png").info["parameters"]
    assert "Lora step: 2" in text
    with pytest.raises(ConfigError, match=r"no checkpoint '3'.*There are 2, 4, `final`"):
        generate(GenerateRequest(run, "a TOK dog", checkpoint=("3",)))


def test_one_block_of_an_adapter_in_a_file_of_its_own_draws_with_that_block(
    small_config: Callable[..., TrainConfig], tmp_path: Path
) -> None:
    """As B-LoRA's halves are."""
    config = small_config(schedule={"steps": 4}, optimizer=FAST)
    run = train(config)
    whole = run / "export" / "run.safetensors"
    half = {name: tensor for name, tensor in load_file(whole).items() if "output_blocks" in name}
    assert 0 < len(half) < len(load_file(whole))
    save_file(half, tmp_path / "run_style.safetensors")
    drawn = [
        pixels(
            generate(
                GenerateRequest(
                    source, "a dog", count=1, steps=2, side_by_side=False, base=config.model.base, out=tmp_path / name
                )
            ).pictures[0]
        )
        for name, source in (("none", None), ("half", tmp_path / "run_style.safetensors"), ("whole", whole))
    ]
    assert np.abs(drawn[0] - drawn[1]).max() > 1
    assert np.abs(drawn[1] - drawn[2]).max() > 1
