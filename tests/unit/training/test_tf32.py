"""TF32 is allowed for a run, not for the process: what comes after finds the switches as they were."""

# torch's backends are modules with properties, which are only partly typed.
# pyright: reportUnknownMemberType=false

import warnings
from collections.abc import Callable, Generator

import pytest
import torch

from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, StepDone
from lorasmith.runs.train import train
from lorasmith.training.precision import tf32


def switches() -> tuple[bool, bool]:
    return bool(torch.backends.cuda.matmul.allow_tf32), bool(torch.backends.cudnn.allow_tf32)


def set_to(matmul: bool, convolutions: bool) -> None:
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = convolutions


@pytest.fixture(autouse=True)
def as_torch_has_them() -> Generator[None]:
    set_to(False, True)
    yield
    set_to(False, True)


@pytest.mark.parametrize("before", [(False, True), (True, True), (False, False), (True, False)])
@pytest.mark.parametrize("allowed", [True, False])
def test_both_switches_are_set_inside_and_back_after_it(before: tuple[bool, bool], *, allowed: bool) -> None:
    set_to(*before)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with tf32(allowed=allowed):
            assert switches() == (allowed, allowed)
    assert switches() == before


def test_a_run_that_fails_puts_them_back_too() -> None:
    with pytest.raises(KeyError), tf32(allowed=True):
        raise KeyError
    assert switches() == (False, True)


def test_a_process_that_used_torchs_newer_switch_can_train() -> None:
    if not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the older switches alone")
    torch.backends.cuda.matmul.fp32_precision = "tf32"
    with tf32(allowed=False):
        assert switches() == (False, False)
    assert torch.backends.cuda.matmul.fp32_precision == "tf32"


def test_two_runs_of_a_process_have_each_its_own_and_leave_none(small_config: Callable[..., TrainConfig]) -> None:
    seen: list[tuple[bool, bool]] = []

    def hear(event: Event) -> None:
        if isinstance(event, StepDone):
            seen.append(switches())

    for number, allowed in enumerate((True, False)):
        config = small_config(
            runtime={"allow_tf32": allowed},
            schedule={"steps": 1},
            validation={"steps": 1, "count": 1, "prompts": ["TOK"]},
            output={"folder": small_config().output.folder.with_name(f"run-{number}")},
        )
        train(config, emit=hear)
        assert switches() == (False, True)
    assert seen == [(True, True), (False, False)]
