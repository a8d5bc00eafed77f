"""The objective against diffusers' own scheduler and SNR, and against the formula the reference script uses instead."""

# diffusers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any, Literal

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from lorasmith.models.family import NoiseSchedule
from lorasmith.objectives.diffusion import DiffusionObjective, min_snr_weights, signal_to_noise

Prediction = Literal["epsilon", "v_prediction"]
SDXL = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
TIMESTEPS = torch.tensor([0, 1, 123, 499, 750, 998, 999])


def scheduler(prediction: Prediction = "epsilon", **options: Any) -> Any:
    return DDPMScheduler(**SDXL, prediction_type=prediction, **options)


def objective(prediction: Prediction = "epsilon", *, gamma: float | None = None, **options: Any) -> DiffusionObjective:
    alphas = scheduler(prediction, **options).alphas_cumprod
    return DiffusionObjective(NoiseSchedule(alphas, prediction), snr_gamma=gamma)


def latents_and_noise() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = (len(TIMESTEPS), 4, 8, 8)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def test_noisy_latents_are_those_of_the_scheduler() -> None:
    latents, noise = latents_and_noise()
    theirs = scheduler().add_noise(latents, noise, TIMESTEPS)
    assert (objective().corrupt(latents, noise, TIMESTEPS) - theirs).abs().max() < 1e-6


def test_the_target_is_the_noise_or_the_schedulers_velocity() -> None:
    latents, noise = latents_and_noise()
    assert objective().target(latents, noise, TIMESTEPS) is noise
    velocity = scheduler("v_prediction").get_velocity(latents, noise, TIMESTEPS)
    assert (objective("v_prediction").target(latents, noise, TIMESTEPS) - velocity).abs().max() < 1e-6


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_a_perfect_prediction_gives_the_clean_latents_back(prediction: Prediction) -> None:
    ours, theirs = objective(prediction), scheduler(prediction)
    latents, noise = latents_and_noise()
    noisy, target = ours.corrupt(latents, noise, TIMESTEPS), ours.target(latents, noise, TIMESTEPS)
    for place, timestep in enumerate(TIMESTEPS[:5]):  # later ones divide by almost nothing
        clean = theirs.step(target[place], timestep, noisy[place]).pred_original_sample
        kept = latents[place].clamp(-theirs.config.clip_sample_range, theirs.config.clip_sample_range)
        torch.testing.assert_close(clean, kept, rtol=0, atol=2e-4)


def test_min_snr_weights_are_diffusers_formulae_for_both_predictions() -> None:
    snr = compute_snr(scheduler(), TIMESTEPS)
    clipped = torch.stack([snr, 5 * torch.ones_like(snr)], dim=1).min(dim=1)[0]
    ours = {p: objective(p, gamma=5.0).weights(TIMESTEPS) for p in ("epsilon", "v_prediction")}
    torch.testing.assert_close(ours["epsilon"], clipped / snr, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(ours["v_prediction"], clipped / (snr + 1), rtol=1e-5, atol=1e-7)


def test_min_snr_weights_are_right_for_v_prediction_and_finite_at_zero_snr() -> None:
    """C-15. The script: min(SNR, γ) ÷ SNR + 1, so 2.0 at the last timestep where 0.005 is right; NaN at SNR 0."""
    final = torch.tensor([999])
    snr = compute_snr(scheduler(), final)
    theirs = torch.stack([snr, torch.full_like(snr, 5.0)], dim=1).min(dim=1)[0] / snr + 1
    ours = objective("v_prediction", gamma=5.0).weights(final)
    assert theirs.item() == pytest.approx(2.0)
    assert ours.item() == pytest.approx((snr / (snr + 1)).item(), rel=1e-4)
    assert ours.item() < 0.005

    zero = compute_snr(scheduler(rescale_betas_zero_snr=True), final)
    assert zero.item() == 0
    assert (torch.minimum(zero, torch.tensor([5.0])) / zero + 1).isnan().all()
    wanted: dict[Prediction, float] = {"epsilon": 1.0, "v_prediction": 0.0}
    for prediction, weight in wanted.items():
        found = objective(prediction, gamma=5.0, rescale_betas_zero_snr=True).weights(final)
        assert found.tolist() == [weight]


@given(st.floats(0.0, 1e6), st.floats(0.1, 50.0))
def test_weighted_by_min_snr_both_predictions_cost_the_same_error_the_same(ratio: float, gamma: float) -> None:
    """An error in x is SNR times one in ε, and (SNR + 1) times one in v: the weights must cancel that exactly."""
    snr = torch.tensor([ratio], dtype=torch.float64)
    on_noise = min_snr_weights(snr, gamma=gamma, prediction_type="epsilon") * snr
    on_velocity = min_snr_weights(snr, gamma=gamma, prediction_type="v_prediction") * (snr + 1)
    torch.testing.assert_close(on_noise, on_velocity, rtol=1e-9, atol=1e-9)
    assert on_noise.item() <= gamma * (1 + 1e-9)


def test_the_signal_to_noise_ratio_is_diffusers() -> None:
    theirs = compute_snr(scheduler(), TIMESTEPS)
    torch.testing.assert_close(signal_to_noise(scheduler().alphas_cumprod[TIMESTEPS]), theirs, rtol=1e-5, atol=0)


def test_losses_are_one_fp32_mean_square_per_example() -> None:
    prediction, target = latents_and_noise()
    losses = objective().losses(prediction.bfloat16(), target.bfloat16(), TIMESTEPS)
    wanted = (prediction.bfloat16().float() - target.bfloat16().float()).pow(2).mean((1, 2, 3))
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, wanted)


def test_a_noise_offset_shifts_whole_channels_and_no_offset_changes_nothing() -> None:
    noise, offsets = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 1, 1)
    shifted = DiffusionObjective(objective().schedule, noise_offset=0.1).noise(noise, offsets)
    torch.testing.assert_close(shifted - noise, (0.1 * offsets).expand_as(noise), rtol=0, atol=1e-6)
    assert torch.equal(objective().noise(noise, offsets), noise)


@given(st.floats(0, 1, exclude_max=True, width=32))
def test_every_draw_gives_a_timestep_of_the_schedule(unit: float) -> None:
    assert objective().timestep_of(unit) in range(1000)


def test_first_and_last_timestep_are_drawn() -> None:
    assert objective().timestep_of(0.0) == 0
    assert objective().timestep_of(1 - 2**-24) == 999
