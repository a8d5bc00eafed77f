"""What only a CUDA device can show: whole runs in half precision, and what leaves the device at the pivot."""

from collections.abc import Callable

import pytest
import torch

from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, StepDone, ignore
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import survey
from lorasmith.runs.prepare import prepare
from lorasmith.runs.train import train
from lorasmith.training.loop import Training, take_step

pytestmark = pytest.mark.gpu

SmallConfig = Callable[..., TrainConfig]


def prepared(config: TrainConfig) -> Training:
    return prepare(config, survey(config), RunFolder(config.output.folder), ignore).training


def losses_of(config: TrainConfig) -> list[float]:
    heard: list[Event] = []
    train(config, emit=heard.append)
    return [event.loss for event in heard if isinstance(event, StepDone)]


def overflowed(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * float("inf")


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_run_on_a_gpu_ends_with_the_cpus_losses_and_every_export(small_config: SmallConfig, precision: str) -> None:
    options = {"optimizer": {"name": "adamw"}, "validation": {"steps": 2}}
    config = small_config(runtime={"device": "cuda", "precision": precision}, **options)
    on_the_gpu = losses_of(config)
    folder = config.output.folder
    names = {file.name for file in (folder / "export").iterdir()}
    assert {"pytorch_lora_weights.safetensors", "run.safetensors", "run_emb.safetensors", "README.md"} <= names

    elsewhere = small_config(runtime={"device": "cpu"}, output={"folder": folder.parent / "cpu"}, **options)
    # The same draws on both devices: only rounding differs.
    assert on_the_gpu == pytest.approx(losses_of(elsewhere), rel=1e-3 if precision == "fp32" else 3e-2)


def test_the_text_encoders_leave_the_gpu_at_the_pivot_and_the_rows_stay_as_they_are(small_config: SmallConfig) -> None:
    training = prepared(small_config(runtime={"device": "cuda"}, schedule={"pivot_step": 2}))
    places: list[str] = []
    rows: list[torch.Tensor] = []
    for _ in range(4):
        training.enter_phase()
        places.append(next(training.family.parts["text_encoder_2"].parameters()).device.type)
        take_step(training)
        rows.append(training.new_tokens["new_tokens_2"].rows.detach().cpu().clone())
    assert places == ["cuda", "cuda", "cpu", "cpu"]
    assert not torch.equal(rows[0], rows[1])
    assert torch.equal(rows[1], rows[2])
    assert torch.equal(rows[2], rows[3])
    saved = training.capture().weights["new_tokens_2"]["rows"]
    assert torch.equal(saved.cpu(), rows[1])


def test_overflowing_gradients_lower_fp16s_scale_on_the_gpu(small_config: SmallConfig) -> None:
    training = prepared(small_config(runtime={"device": "cuda", "precision": "fp16"}))
    assert training.scaler is not None
    training.enter_phase()
    take_step(training)
    before, scale = training.parts["denoiser"].buffer.detach().clone(), training.scaler.get_scale()
    first = next(iter(training.parts["denoiser"].parameters.values()))
    first.register_hook(overflowed)
    take_step(training)
    assert torch.equal(training.parts["denoiser"].buffer.detach(), before)
    assert training.scaler.get_scale() < scale
