"""The base with its adapter off keeps its own idea of the class, without a single class image."""

# diffusers and torch are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from lorasmith.config.train import TrainConfig
from lorasmith.data.examples import Role
from lorasmith.models.family import Conditioning
from lorasmith.runs.train import train
from lorasmith.training.loop import Training, take_step
from lorasmith.training.step import draw_chance, training_step

SmallRun = Callable[..., Training]
TEACHING: dict[str, Any] = {"source": "adapter_off", "class_word": "dog"}
FAST = {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0}


def test_each_picture_has_a_twin_under_its_class_caption(small_run: SmallRun) -> None:
    batch = small_run(prior=TEACHING).batches.batch_at(0)
    instance, twins = batch.draws[:2], batch.draws[2:]
    assert [draw.example.role for draw in batch.draws] == [Role.INSTANCE] * 2 + [Role.CLASS] * 2
    for draw, twin in zip(instance, twins, strict=True):
        assert twin.example.caption == draw.example.caption.replace("TOK", "dog") != draw.example.caption
        assert (twin.example.content, twin.view) == (draw.example.content, draw.view)
    assert torch.equal(batch.latents.mean[:2], batch.latents.mean[2:])


def test_without_a_class_word_every_twin_says_the_class_prompt(small_run: SmallRun) -> None:
    training = small_run(prior={"source": "adapter_off", "class_prompt": "a photo of a dog"})
    assert training.batches.batch_at(0).captions[2:] == ("a photo of a dog",) * 2


def test_a_twins_target_is_what_the_base_says_and_the_adapter_is_on_again_afterwards(small_run: SmallRun) -> None:
    training = small_run(prior=TEACHING, adapter={"rank": 4, "text_encoders": True})
    base = said_of_twins(training)
    for part in training.parts.values():
        with torch.no_grad():
            part.buffer.add_(0.1)
    moved = said_of_twins(training)

    assert (moved - base).abs().max() > 1e-3, "adapters of denoiser and text encoders must change what is said"
    batch = training.batches.batch_at(0)
    draws = draw_chance(batch, training.objective, seed=0, micro_step=0, device=torch.device("cpu"))
    prompts = training.prompts.embeddings(batch.captions, training.phase)
    loss = training_step(
        training.family, training.objective, batch, prompts=prompts, draws=draws, teacher=training.teacher
    )
    assert loss.prior is not None
    wanted = (moved - base).square().mean()
    torch.testing.assert_close(loss.prior, wanted, rtol=1e-4, atol=0)
    assert torch.equal(said_of_twins(training), moved)


def test_nothing_is_held_back_before_anything_was_learnt(small_run: SmallRun) -> None:
    training = small_run(prior=TEACHING, optimizer=FAST)
    training.enter_phase()
    first, second = take_step(training).prior_loss, take_step(training).prior_loss
    assert first is not None
    assert second is not None
    assert first < 1e-12 < 1e-6 < second


def test_the_class_drifts_less_than_without_it(small_run: SmallRun) -> None:
    fast: dict[str, Any] = {"optimizer": FAST, "tokens": {"enabled": False}, "schedule": {"steps": 15}}
    drifts = {
        name: drift_after(small_run(prior=prior, **fast), steps=15)
        for name, prior in {"without": None, "with": TEACHING | {"weight": 3.0}}.items()
    }
    assert drifts["with"] < 0.6 * drifts["without"]


def test_no_class_images_are_drawn_or_read(small_config: Callable[..., TrainConfig], tmp_path: Path) -> None:
    config = small_config(
        prior=TEACHING,
        schedule={"steps": 2, "batch_size": 2},
        validation={"count": 1, "steps": 1, "prompts": ("a TOK",)},
    )
    folder = train(config)
    assert not (folder / "class_images").exists()
    assert (folder / "export" / "pytorch_lora_weights.safetensors").exists()


@pytest.mark.parametrize(
    ("prior", "said"),
    [
        ({"source": "adapter_off"}, "prior.class_word"),
        ({"source": "adapter_off", "class_word": "dog", "class_images": "dogs"}, "prior.class_images"),
        ({"class_prompt": "a dog", "class_word": "dog"}, "adapter_off"),
    ],
)
def test_options_of_the_other_source_are_refused(prior: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        TrainConfig.model_validate({"prior": prior})


def said_of_twins(training: Training) -> Tensor:
    """The denoiser's prediction for the twins of the first batch, as the run stands."""
    batch, family = training.batches.batch_at(0), training.family
    draws = draw_chance(batch, training.objective, seed=0, micro_step=0, device=torch.device("cpu"))
    noisy = training.objective.corrupt(batch.latents.sample(draws.posterior), draws.noise, draws.timesteps)
    with torch.no_grad():
        prompts = family.encode_prompts(batch.captions[2:])
        conditioning = Conditioning(prompts, family.time_ids(batch.sizes[2:]))
        return family.predict(noisy[2:], draws.timesteps[2:], conditioning)


def drift_after(training: Training, *, steps: int) -> float:
    """How far what the run says of its twins has moved after some steps."""
    before = class_predictions(training)
    for _ in range(steps):
        training.enter_phase()
        take_step(training)
    return (class_predictions(training) - before).square().mean().item()


def class_predictions(training: Training) -> Tensor:
    """What is said of fixed noise under the class word."""
    family = training.family
    noisy = torch.randn(4, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    times = torch.tensor([100, 400, 700, 900])
    with torch.no_grad():
        prompts = family.encode_prompts(["a photo of dog in red", "a photo of dog in blue"] * 2)
        time_ids = torch.tensor([[64.0, 64, 0, 0, 64, 64]]).repeat(4, 1)
        return family.predict(noisy, times, Conditioning(prompts, time_ids))
