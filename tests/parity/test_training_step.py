"""The whole training step against the formulae written out (`step_arms.py`), in loss and in every gradient.

Once as the formulae are computed now, and once as they were recorded with everything that went in, so that a change
of torch, diffusers, transformers or peft that moves both sides alike is seen too. `LORASMITH_RECORD=1` records anew.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded_steps import new_inputs, read_recorded, set_weights, sketch, write_recorded
from step_arms import ARMS, BASES, away_from_zero, differentiated, fits, written_out

from lorasmith.testing import tiny_pipeline
from lorasmith.training.loop import Training
from lorasmith.training.step import draw_chance, training_step

SmallRun = Callable[..., Training]
CASES = [(arm, base) for arm in ARMS for base in BASES if fits(arm, base)]


@pytest.fixture(scope="session")
def tiny_edm_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny base with Playground v2.5's kind of noise."""
    return tiny_pipeline(tmp_path_factory.mktemp("tiny-edm-base"), noise="edm")


@pytest.mark.parametrize(("arm", "base"), CASES)
def test_loss_and_gradients_are_those_of_the_formula_written_out(
    small_run: SmallRun, arm: str, base: str, request: pytest.FixtureRequest
) -> None:
    config = ARMS[arm]
    training = small_run(**config, model={"base": str(request.getfixturevalue(base))})
    training.enter_phase()
    away_from_zero(training)
    batch = training.batches.batch_at(1)
    draws = draw_chance(batch, training.objective, seed=5, micro_step=1, device=torch.device("cpu"))

    embeddings = training.prompts.embeddings(batch.captions, training.phase)
    ours = training_step(training.family, training.objective, batch, prompts=embeddings, draws=draws)
    found = differentiated(training, ours.total)
    theirs = written_out(training, batch, draws, config)
    wanted = differentiated(training, theirs.total)

    assert ours.total.item() == pytest.approx(theirs.total.item(), rel=1e-5)
    assert ours.instance.item() == pytest.approx(theirs.instance.item(), rel=1e-5)
    assert (ours.prior is None) == (theirs.prior is None)
    if ours.prior is not None and theirs.prior is not None:
        assert ours.prior.item() == pytest.approx(theirs.prior.item(), rel=1e-5)
        assert len(batch.draws) == 4
    assert found.keys() == wanted.keys() == training.parts.keys()
    for name in found:
        assert wanted[name].abs().max() > 0, f"{name} must have a gradient to compare"
        assert (found[name] - wanted[name]).abs().max() < 1e-5 * max(1.0, wanted[name].abs().max().item()), name
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize(("arm", "base"), CASES)
def test_loss_and_gradients_are_those_that_were_recorded(
    small_run: SmallRun, arm: str, base: str, request: pytest.FixtureRequest
) -> None:
    case = f"{arm} on {base}"
    training = small_run(**ARMS[arm], model={"base": str(request.getfixturevalue(base))})
    set_weights(training)
    training.enter_phase()
    if os.environ.get("LORASMITH_RECORD"):
        record(case, training, arm)

    recorded = read_recorded(case)
    batch = recorded.batch(training.batches.batch_at(1))
    embeddings = training.prompts.embeddings(batch.captions, training.phase)
    ours = training_step(training.family, training.objective, batch, prompts=embeddings, draws=recorded.draws())
    gradients = differentiated(training, ours.total)

    assert ours.total.item() == pytest.approx(recorded.tensors["total"].item(), rel=1e-5)
    assert ours.instance.item() == pytest.approx(recorded.tensors["instance"].item(), rel=1e-5)
    for name, gradient in gradients.items():
        wanted = recorded.tensors[f"gradient.{name}"]
        assert wanted[0] > 0
        torch.testing.assert_close(sketch(gradient), wanted, rtol=1e-4, atol=1e-5 * wanted.abs().max().item())


def record(case: str, training: Training, arm: str) -> None:
    """Write down what the formulae give on fresh inputs."""
    like = training.batches.batch_at(1)
    recorded = new_inputs(like)
    theirs = written_out(training, recorded.batch(like), recorded.draws(), ARMS[arm])
    gradients = differentiated(training, theirs.total)
    results = {"total": theirs.total.detach(), "instance": theirs.instance.detach()}
    sketches = {f"gradient.{name}": sketch(gradient) for name, gradient in gradients.items()}
    write_recorded(case, replace(recorded, tensors=recorded.tensors | results | sketches))
