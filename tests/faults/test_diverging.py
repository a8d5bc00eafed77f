"""Numbers that are not finite, and parts that learn nothing, end a run with a reason and reach nothing that is kept."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lorasmith.config.train import TrainConfig
from lorasmith.errors import DivergedError
from lorasmith.events import Event, RunEnded, StepDone
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.optim.part import PartOptimizer
from lorasmith.run_folder import RunFolder
from lorasmith.runs.train import resume, train
from lorasmith.testing import pictures, tiny_pipeline
from lorasmith.training.checkpoint import CheckpointStore

QUICK = {
    "adapter": {"rank": 2},
    "optimizer": {"name": "adamw", "learning_rate": 1e-2},
    "validation": {"steps": 1, "count": 1},
    "checkpoint": {"every": 2},
}
SmallConfig = Callable[..., TrainConfig]


def train_until_it_diverges(config: TrainConfig) -> tuple[str, RunFolder, list[Event]]:
    """What the refusal says, the run, and what it told."""
    events = list[Event]()
    with pytest.raises(DivergedError) as refused:
        train(config, emit=events.append)
    assert refused.value.exit_code == 5
    assert isinstance(events[-1], RunEnded)
    assert events[-1].reason == "failed"
    run = RunFolder(config.output.folder)
    assert not run.export.exists()
    return str(refused.value), run, events


def steps_done(events: Sequence[Event]) -> int:
    return len([event for event in events if isinstance(event, StepDone)])


def test_a_loss_that_is_not_finite_stops_before_the_update(
    small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(**QUICK, schedule={"steps": 6, "batch_size": 2}, output={"name": "concept"})
    calls, predict = [0], Sdxl.predict

    def broken_in_step_4(family: Sdxl, *arguments: Any) -> torch.Tensor:
        calls[0] += 1
        return predict(family, *arguments) * (math.nan if calls[0] == 4 else 1.0)

    with monkeypatch.context() as patch:
        patch.setattr(Sdxl, "predict", broken_in_step_4)
        message, run, events = train_until_it_diverges(config)
    assert "the loss of step 4 is nan; no update was made from it" in message
    assert message.count("picture-00") == 2
    assert "timesteps " in message
    assert steps_done(events) == 3
    assert run.checkpoint_steps() == (2,)
    assert _is_finite(run)
    resume(run.path)
    assert run.state() == "finished"


def _is_finite(run: RunFolder) -> bool:
    newest = CheckpointStore(run.checkpoints, keep=2).newest()
    assert newest is not None
    return all(tensor.isfinite().all() for group in newest[0].weights.values() for tensor in group.values())


def test_an_update_that_overflows_is_kept_out_of_every_checkpoint(
    small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = PartOptimizer.step

    def overflow(part: PartOptimizer, *arguments: Any) -> None:
        update(part, *arguments)
        part.buffer.data[-1] *= math.inf

    monkeypatch.setattr(PartOptimizer, "step", overflow)
    config = small_config(**{**QUICK, "checkpoint": {"every": 1}}, schedule={"steps": 3, "batch_size": 1})
    message, run, events = train_until_it_diverges(config)
    assert "not finite after step 1; nothing of it was kept" in message
    assert "optimizer.learning_rate" in message
    assert steps_done(events) == 1
    assert run.checkpoint_steps() == ()


@pytest.mark.parametrize("cached", [True, False])
def test_latents_that_are_not_finite_stop_before_any_step(
    small_config: SmallConfig, tmp_path: Path, *, cached: bool
) -> None:
    base = tiny_pipeline(tmp_path / "base", layers_per_block=1)
    vae = base / "vae" / "diffusion_pytorch_model.safetensors"
    weights = load_file(vae)
    weights["encoder.conv_in.bias"][0] = math.nan
    save_file(weights, vae, {"format": "pt"})
    config = small_config(**QUICK, model={"base": str(base)}, data={"cache_latents": cached})
    message, run, events = train_until_it_diverges(config)
    assert "latents of picture-00" in message
    assert "are not finite" in message
    assert steps_done(events) == 0
    assert run.checkpoint_steps() == ()
    assert not list((tmp_path / "latents").rglob("*.safetensors")), "nothing broken is kept for other runs"


@pytest.mark.parametrize(("steps", "when"), [(3, "in the whole run"), (20, "in 10 updates")])
def test_new_tokens_that_no_caption_names_end_the_run(
    small_config: SmallConfig, tmp_path: Path, steps: int, when: str
) -> None:
    """Weight decay and the pull on their norm move the rows, but nothing is learnt."""
    pictures(tmp_path / "unnamed", 2, captions=["a red thing", "a thing"])
    config = small_config(
        **QUICK,
        data={"instance_images": tmp_path / "unnamed", "captions_without_token": "allow"},
        schedule={"steps": steps, "batch_size": 1, "pivot": 1.0},
    )
    message, _, events = train_until_it_diverges(config)
    assert f"new_tokens_1 has learnt nothing {when}: every gradient it got was zero" in message
    assert "captions name the token abstraction" in message
    assert steps_done(events) == min(steps, 9)


def test_a_run_whose_rate_is_always_zero_does_not_end_well(small_config: SmallConfig) -> None:
    schedule = {"steps": 1, "lr_schedule": "constant_with_warmup", "warmup_steps": 5}
    message, run, _ = train_until_it_diverges(small_config(**QUICK, schedule=schedule))
    assert "nothing was trained: the rate of each of the 1 steps was 0" in message
    with pytest.raises(DivergedError, match="nothing was trained"):
        resume(run.path)
