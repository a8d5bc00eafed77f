"""Owns the objective of SDXL's own noise as pure functions: noising, targets and loss weights."""

from dataclasses import dataclass
from typing import Literal, assert_never

import torch
from torch import Tensor

from lorasmith.models.family import NoiseSchedule, PredictionType
from lorasmith.objectives.objective import Objective


@dataclass(frozen=True)
class DiffusionObjective(Objective):
    """Epsilon or v-prediction for one noise schedule; min-SNR weights when `snr_gamma` is given.

    `measured_on` is where an error is measured: on the prediction, or in EDM's style on the denoised picture with
    weight σ⁻² (arXiv 2206.00364). On epsilon the two are the same: (σ·(ε − ε̂))² ÷ σ².
    """

    schedule: NoiseSchedule
    snr_gamma: float | None = None
    measured_on: Literal["prediction", "picture"] = "prediction"

    @property
    def timesteps(self) -> int:
        """The length of the schedule."""
        return len(self.schedule.alphas_cumprod)

    def corrupt(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents √ᾱ·x + √(1−ᾱ)·ε (DDPM, arXiv 2006.11239, equation 4)."""
        signal, spread = self._coefficients(timesteps)
        return signal * latents + spread * noise

    def times(self, timesteps: Tensor) -> Tensor:
        """The timesteps themselves."""
        return timesteps

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the prediction should be: ε, or v = √ᾱ·ε − √(1−ᾱ)·x (arXiv 2202.00512, appendix D)."""
        match self.schedule.prediction_type:
            case "epsilon":
                return noise
            case "v_prediction":
                signal, spread = self._coefficients(timesteps)
                return signal * noise - spread * latents
            case other:
                assert_never(other)

    def weights(self, timesteps: Tensor) -> Tensor:
        """The objective's weight per example [B]; ones unless min-SNR or EDM's style is asked for."""
        alphas = self.schedule.alphas_cumprod.to(timesteps.device)[timesteps]
        if self.snr_gamma is not None:
            ratios = signal_to_noise(alphas)
            return min_snr_weights(ratios, gamma=self.snr_gamma, prediction_type=self.schedule.prediction_type)
        if self.measured_on == "picture" and self.schedule.prediction_type == "v_prediction":
            return alphas  # x − x̂ = √(1−ᾱ)·(v̂ − v), and σ⁻² = ᾱ ÷ (1−ᾱ) on latents of unit signal
        return torch.ones_like(timesteps, dtype=torch.float32)

    def _coefficients(self, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        alphas = self.schedule.alphas_cumprod.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
        return alphas.sqrt(), (1 - alphas).sqrt()


def signal_to_noise(alphas_cumprod: Tensor) -> Tensor:
    """SNR = ᾱ ÷ (1 − ᾱ), elementwise; zero at zero terminal SNR."""
    return alphas_cumprod / (1 - alphas_cumprod)


def min_snr_weights(ratios: Tensor, *, gamma: float, prediction_type: PredictionType) -> Tensor:
    """Min-SNR weights (arXiv 2303.09556, section 3.4) for the loss on ε or on v, finite at SNR 0.

    On ε: min(SNR, γ) ÷ SNR, written γ ÷ max(SNR, γ). On v: min(SNR, γ) ÷ (SNR + 1); the diffusers script adds one to
    the weight instead (diffusers #5654).
    """
    match prediction_type:
        case "epsilon":
            return gamma / ratios.clamp(min=gamma)
        case "v_prediction":
            return ratios.clamp(max=gamma) / (ratios + 1)
        case other:
            assert_never(other)
