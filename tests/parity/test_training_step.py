"""The whole training step against a straightforward one written out here, in loss and in every gradient."""

# diffusers and transformers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from lorasmith.data.batches import Batch
from lorasmith.training.loop import Training
from lorasmith.training.step import StepDraws, draw_chance, training_step

SmallRun = Callable[..., Training]
PRIOR = {"class_prompt": "a photo of a dog", "num_class_images": 3, "weight": 0.7}
ARMS: dict[str, dict[str, Any]] = {
    "plain": {"tokens": {"enabled": False}},
    "min-snr": {"tokens": {"enabled": False}, "objective": {"snr_gamma": 5.0}},
    "prior": {"tokens": {"enabled": False}, "prior": PRIOR},
    "prior and min-snr": {"prior": PRIOR, "objective": {"snr_gamma": 2.0, "noise_offset": 0.1}},
    "pivotal": {},
    "text encoders": {"tokens": {"enabled": False}, "adapter": {"rank": 4, "text_encoders": True}},
}


def written_out(training: Training, batch: Batch, draws: StepDraws, prompts: list[str], config: dict[str, Any]) -> Any:
    """Total, instance and prior loss, example by example, with diffusers' own scheduler."""
    family: Any = training.family
    parts = family.components
    scheduler: Any = DDPMScheduler.from_config(parts.scheduler_config)
    gamma, weight = config.get("objective", {}).get("snr_gamma"), config.get("prior", {}).get("weight", 1.0)
    losses: dict[str, list[Tensor]] = {"instance": [], "class": []}
    for place, draw in enumerate(batch.draws):
        latents = batch.latents.mean[place] + batch.latents.std[place] * draws.posterior[place]
        noise = draws.noise[place] + config.get("objective", {}).get("noise_offset", 0.0) * draws.offsets[place]
        timestep = draws.timesteps[place : place + 1]
        noisy = scheduler.add_noise(latents[None], noise[None], timestep)
        ids = [
            tokenizer(prompts[place], padding="max_length", max_length=77, truncation=True, return_tensors="pt")
            for tokenizer in (parts.tokenizer_1, parts.tokenizer_2)
        ]
        first = parts.text_encoder_1(ids[0].input_ids, output_hidden_states=True)
        second = parts.text_encoder_2(ids[1].input_ids, output_hidden_states=True)
        view = draw.view
        sizes = [*view.original, *view.crop_top_left, *view.target]
        prediction = parts.unet(
            noisy,
            timestep,
            encoder_hidden_states=torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1),
            added_cond_kwargs={"text_embeds": second.text_embeds, "time_ids": torch.tensor([sizes], dtype=torch.float)},
        ).sample
        velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(latents[None], noise[None], timestep) if velocity else noise[None]
        loss = (prediction - target).pow(2).mean()
        if gamma is not None:
            snr = compute_snr(scheduler, timestep)[0]
            loss = loss * min(snr.item(), gamma) / (snr + 1 if velocity else snr)
        losses[str(draw.example.role)].append(loss)
    instance = torch.stack(losses["instance"]).mean()
    if not losses["class"]:
        return instance, instance, None
    prior = torch.stack(losses["class"]).mean()
    return instance + weight * prior, instance, prior


def prompts_of(batch: Batch, *, expanded: bool) -> list[str]:
    return [caption.replace("TOK", "<s0><s1>") if expanded else caption for caption in batch.captions]


@pytest.mark.parametrize("arm", ARMS)
@pytest.mark.parametrize("base", ["tiny_base", "tiny_v_base"])
def test_loss_and_gradients_are_those_of_the_formula_written_out(
    small_run: SmallRun, arm: str, base: str, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(base)
    config = ARMS[arm]
    training = small_run(**config, model={"base": str(folder)})
    training.enter_phase()
    for part in training.parts.values():
        with torch.no_grad():  # away from zero, or the down-weights would have no gradient to compare
            generator = torch.Generator().manual_seed(1)
            part.buffer.add_(0.05 * torch.randn(part.buffer.shape, generator=generator))
    batch = training.batches.batch_at(1)
    draws = draw_chance(batch, training.objective, seed=5, micro_step=1, device=torch.device("cpu"))

    embeddings = training.prompts.embeddings(batch.captions, training.phase)
    ours = training_step(training.family, training.objective, batch, prompts=embeddings, draws=draws)
    found = differentiated(training, ours.total)

    pivotal = bool(training.new_tokens)
    total, instance, prior = written_out(training, batch, draws, prompts_of(batch, expanded=pivotal), config)
    wanted = differentiated(training, total)

    assert ours.total.item() == pytest.approx(total.item(), rel=1e-5)
    assert ours.instance.item() == pytest.approx(instance.item(), rel=1e-5)
    assert (ours.prior is None) == (prior is None)
    if ours.prior is not None:
        assert ours.prior.item() == pytest.approx(prior.item(), rel=1e-5)
        assert len(batch.draws) == 4
    assert found.keys() == wanted.keys() == training.parts.keys()
    for name in found:
        assert wanted[name].abs().max() > 0, f"{name} must have a gradient to compare"
        assert (found[name] - wanted[name]).abs().max() < 1e-5 * max(1.0, wanted[name].abs().max().item()), name
        torch.testing.assert_close(found[name], wanted[name], rtol=1e-2, atol=1e-6)


def differentiated(training: Training, total: Tensor) -> dict[str, Tensor]:
    for part in training.parts.values():
        part.zero_gradient()
    total.backward()
    return {name: part.gradient.clone() for name, part in training.parts.items()}
