"""Training makes the loss of what is trained on fall, and without the adapter the base is what it was."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from lorasmith.adapters.attach import adapters_off
from lorasmith.data.order import fixed_draws
from lorasmith.sizes import Size
from lorasmith.testing import pictures
from lorasmith.training.loop import Training, take_step
from lorasmith.training.validation import held_out_loss

SmallRun = Callable[..., Training]
FAST = {"name": "adamw", "learning_rate": 1e-2, "weight_decay": 0.0}


def train(training: Training, steps: int) -> None:
    for _ in range(steps):
        training.enter_phase()
        take_step(training)


def fixed_loss(training: Training) -> float:
    """The loss of the first training picture under noise that is the same each time."""
    example = training.batches.order.draws_at(0)[0].example
    batch = training.batches.batch_of(fixed_draws([example], [Size(64, 64)]))
    return held_out_loss(training, [batch], training.phase).loss


def predictions(training: Training) -> Tensor:
    """What the denoiser says of fixed noise under a prompt."""
    with torch.no_grad():
        prompts = training.family.encode_prompts(["a photo of the dog"])
        generator = torch.Generator().manual_seed(0)
        noisy = torch.randn(1, 4, 8, 8, generator=generator)
        from_family: Any = training.family
        added = {"text_embeds": prompts.pooled, "time_ids": torch.tensor([[64.0, 64, 0, 0, 64, 64]])}
        unet = from_family.components.unet
        return unet(noisy, 500, encoder_hidden_states=prompts.hidden, added_cond_kwargs=added).sample


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_the_loss_on_the_training_picture_falls_and_the_base_is_untouched(
    small_run: SmallRun, tiny_v_base: Path, tmp_path: Path, kind: str
) -> None:
    pictures(tmp_path / "one", 1)
    training = small_run(
        model={"base": str(tiny_v_base)},
        data={"instance_images": tmp_path / "one", "instance_prompt": "a TOK"},
        adapter={"rank": 8, "kind": kind, "targets": "attention+feed-forward"},
        optimizer=FAST,
        schedule={"steps": 25, "batch_size": 4},
    )
    denoiser = training.family.parts["denoiser"]
    base, loss_before = predictions(training), fixed_loss(training)
    assert fixed_loss(training) == loss_before, "measured twice is the same"
    train(training, 25)
    loss_after = fixed_loss(training)
    assert loss_after < 0.85 * loss_before, (loss_before, loss_after)
    assert (predictions(training) - base).abs().max() > 0.01
    with adapters_off(denoiser):
        assert torch.equal(predictions(training), base), "adapters off, it is the base to the last bit"


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_an_untrained_adapter_changes_nothing(small_run: SmallRun, kind: str) -> None:
    training = small_run(adapter={"kind": kind})
    untrained = predictions(training)
    with adapters_off(training.family.parts["denoiser"]):
        base = predictions(training)
    torch.testing.assert_close(untrained, base, rtol=0, atol=2e-6 if kind == "dora" else 0)


def test_new_tokens_alone_learn(small_run: SmallRun) -> None:
    """The denoiser's rate is nearly nothing, so what falls is the tokens' doing."""
    training = small_run(
        optimizer={"name": "adamw", "learning_rate": 1e-12},
        rates={"new_tokens_1": 0.3, "new_tokens_2": 0.3},
        tokens={"keep_norm": False},
        schedule={"steps": 15, "pivot": 1.0, "batch_size": 4},
    )
    before = fixed_loss(training)
    train(training, 15)
    assert fixed_loss(training) < before - 0.002, (before, fixed_loss(training))


def test_text_encoder_adapters_move_and_change_what_prompts_mean(small_run: SmallRun) -> None:
    training = small_run(
        adapter={"text_encoders": True, "rank": 4}, tokens={"enabled": False}, optimizer=FAST, schedule={"steps": 4}
    )
    with torch.no_grad():
        before = training.family.encode_prompts(["a photo of the dog"])
    train(training, 4)
    for name in ("text_encoder_1", "text_encoder_2"):
        ups = [p for key, p in training.parts[name].parameters.items() if ".lora_B." in key]
        assert len(ups) >= 8
        # The last layer is not read: SDXL takes the states before it. Its first encoder's part never has a gradient.
        assert sum(bool(up.any()) for up in ups) >= len(ups) - 4
    with torch.no_grad():
        after = training.family.encode_prompts(["a photo of the dog"])
    assert (after.hidden - before.hidden).abs().max() > 1e-3
    assert (after.pooled - before.pooled).abs().max() > 1e-3


def test_prodigy_finds_a_rate_by_itself(small_run: SmallRun) -> None:
    training = small_run(optimizer={"name": "prodigy", "d0": 1e-4}, schedule={"steps": 60, "batch_size": 4})
    train(training, 60)
    assert (training.parts["denoiser"].distance or 0) > 1.1e-4
