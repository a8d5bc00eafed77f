"""Owns the diffusion training objective as pure functions: noising, targets and loss weights; draws nothing itself."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from lorasmith.models.family import NoiseSchedule, PredictionType


@dataclass(frozen=True)
class DiffusionObjective:
    """Epsilon or v-prediction with optional min-SNR weights, for one noise schedule."""

    schedule: NoiseSchedule
    snr_gamma: float | None = None
    noise_offset: float = 0.0

    def timestep_of(self, unit: float) -> int:
        """A training timestep from a uniform draw in [0, 1)."""
        return int(unit * len(self.schedule.alphas_cumprod))

    def noise(self, unit_noise: Tensor, offsets: Tensor) -> Tensor:
        """Noise [B, C, h, w] from unit noise and one unit draw per example and channel [B, C, 1, 1]."""
        return unit_noise + self.noise_offset * offsets

    def corrupt(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Noisy latents √ᾱ·x + √(1−ᾱ)·ε (DDPM, arXiv 2006.11239, equation 4)."""
        signal, spread = self._coefficients(timesteps)
        return signal * latents + spread * noise

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

    def losses(self, prediction: Tensor, target: Tensor, timesteps: Tensor) -> Tensor:
        """One weighted fp32 mean squared error per example [B]."""
        errors = (prediction.float() - target.float()).square().flatten(1).mean(1)
        return errors * self.weights(timesteps)

    def weights(self, timesteps: Tensor) -> Tensor:
        """The objective's weight per example [B]; ones without min-SNR."""
        if self.snr_gamma is None:
            return torch.ones_like(timesteps, dtype=torch.float32)
        ratios = signal_to_noise(self.schedule.alphas_cumprod.to(timesteps.device)[timesteps])
        return min_snr_weights(ratios, gamma=self.snr_gamma, prediction_type=self.schedule.prediction_type)

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
