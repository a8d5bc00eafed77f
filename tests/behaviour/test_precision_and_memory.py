"""Precisions, gradient checkpointing and dropout change what they are meant to change and nothing else."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.amp.grad_scaler import GradScaler

from lorasmith.training.loop import Training, take_step

SmallRun = Callable[..., Training]
ADAMW = {"name": "adamw", "learning_rate": 1e-3}


def step(training: Training, count: int = 1) -> list[float]:
    losses: list[float] = []
    for _ in range(count):
        training.enter_phase()
        losses.append(take_step(training).loss)
    return losses


def gradients(training: Training) -> dict[str, torch.Tensor]:
    return {name: part.gradient.clone() for name, part in training.parts.items()}


def with_checkpointing(training: Training) -> Training:
    family: Any = training.family
    family.components.unet.enable_gradient_checkpointing()
    return training


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_gradient_checkpointing_gives_the_same_gradients(small_run: SmallRun, dropout: float, kind: str) -> None:
    options = {"adapter": {"rank": 4, "dropout": dropout, "kind": kind}, "optimizer": ADAMW}
    plain, checkpointed = small_run(**options), with_checkpointing(small_run(**options))
    assert step(plain, 2) == pytest.approx(step(checkpointed, 2), rel=1e-5)
    for name, gradient in gradients(plain).items():
        torch.testing.assert_close(gradients(checkpointed)[name], gradient, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("kind", ["lora", "dora"])
def test_adapters_are_fp32_under_bf16(small_run: SmallRun, kind: str) -> None:
    """C-9: the script trains bf16 masters, in which 1 + 0.003 is 1: small updates are lost."""
    assert torch.tensor(1.0, dtype=torch.bfloat16) + 0.003 == 1.0
    training = small_run(
        runtime={"precision": "bf16"},
        adapter={"rank": 4, "kind": kind, "text_encoders": True},
        optimizer={"name": "adamw", "learning_rate": 1e-6},
        prior={"class_prompt": "a photo of a dog", "num_class_images": 2},
        schedule={"pivot": 1.0},
    )
    for module in training.family.parts.values():
        frozen = [p for name, p in module.named_parameters() if "lora_" not in name and not name.endswith(".rows")]
        assert {parameter.dtype for parameter in frozen} == {torch.bfloat16}
    starts = {name: part.buffer.detach().clone() for name, part in training.parts.items()}
    step(training, 2)
    assert training.parts.keys() == {"denoiser", "text_encoder_1", "text_encoder_2", "new_tokens_1", "new_tokens_2"}
    for name, part in training.parts.items():
        assert {parameter.dtype for parameter in part.parameters.values()} == {torch.float32}
        state = part.capture().tensors
        assert {state["exp_avg"].dtype, state["exp_avg_sq"].dtype} == {torch.float32}
        moved = part.buffer.detach() - starts[name]
        # Two updates at a rate of 1e-6 are at most 2e-6 long: bf16 could not say them beside weights near 0.1.
        assert 0 < moved.abs().median() < 3e-6 or name.startswith(("new", "text"))
        assert moved.any()


def test_prodigys_first_steps_of_a_millionth_move_fp32_masters_and_not_bf16_ones() -> None:
    """C-9 again: with d0 = 1e-6, down-weights of size 1/rank cannot move in bf16 at all."""
    down = torch.full((8,), 0.25)
    assert ((down + 1e-6) != down).all()
    assert ((down.bfloat16() + 1e-6) == down.bfloat16()).all()


def test_losses_in_bf16_are_those_in_fp32_to_within_bf16(small_run: SmallRun) -> None:
    wanted = step(small_run(optimizer=ADAMW), 6)
    found = step(small_run(optimizer=ADAMW, runtime={"precision": "bf16"}), 6)
    assert found == pytest.approx(wanted, rel=0.01)


def test_dropout_is_drawn_anew_each_step_and_is_the_same_in_the_same_step(small_run: SmallRun) -> None:
    options: dict[str, Any] = {"adapter": {"rank": 4, "dropout": 0.5}, "optimizer": ADAMW}
    with_dropout, again, without = small_run(**options), small_run(**options), small_run(optimizer=ADAMW)
    torch.rand(7)  # what others draw in between does not matter
    first = step(with_dropout, 3)
    torch.rand(9)
    assert first == step(again, 3)
    assert first[0] == step(without, 3)[0], "the up-weights are zero, so that nothing shows in the first loss"
    assert not torch.equal(with_dropout.parts["denoiser"].buffer, without.parts["denoiser"].buffer)


def scaled(training: Training, *, scale: float) -> Training:
    """The run with fp16's scaler, on the CPU in fp32, where gradients can be compared."""
    training.scaler = GradScaler("cpu", init_scale=scale, growth_interval=2)
    return training


def test_a_scaled_run_takes_the_unscaled_steps(small_run: SmallRun) -> None:
    plain, with_scaler = small_run(optimizer=ADAMW), scaled(small_run(optimizer=ADAMW), scale=1024.0)
    assert step(with_scaler, 6) == pytest.approx(step(plain, 6), rel=1e-4)
    for name, part in plain.parts.items():
        torch.testing.assert_close(with_scaler.parts[name].buffer, part.buffer, rtol=1e-3, atol=1e-5)
    assert with_scaler.scaler is not None
    assert with_scaler.scaler.get_scale() == 1024.0 * 2**3, "six good steps double the scale three times"


def test_an_overflow_skips_that_parts_update_and_lowers_the_scale(small_run: SmallRun) -> None:
    training = scaled(small_run(optimizer=ADAMW), scale=1024.0)
    before = {name: part.buffer.detach().clone() for name, part in training.parts.items()}
    training.enter_phase()
    overflowing = next(iter(training.parts["denoiser"].parameters.values()))
    overflowing.register_hook(_overflowing)
    step(training)
    assert torch.equal(training.parts["denoiser"].buffer, before["denoiser"])
    assert not torch.equal(training.parts["new_tokens_1"].buffer, before["new_tokens_1"])
    assert training.scaler is not None
    assert training.scaler.get_scale() == 512.0


def _overflowing(gradient: torch.Tensor) -> torch.Tensor:
    return gradient * float("inf")


def test_fp16_computes_with_a_scaler_and_fp32_masters(small_run: SmallRun) -> None:
    training = small_run(runtime={"precision": "fp16"}, optimizer=ADAMW)
    assert training.scaler is not None
    losses = step(training, 3)
    assert losses == pytest.approx(step(small_run(optimizer=ADAMW), 3), rel=0.01)
    assert training.parts["denoiser"].buffer.dtype == torch.float32
