"""Owns the objective of bases trained as in EDM (arXiv 2206.00364), such as Playground v2.5, as pure functions."""

from dataclasses import dataclass
from typing import assert_never

import torch
from torch import Tensor

from lorasmith.models.family import EdmSchedule
from lorasmith.objectives.objective import Objective


@dataclass(frozen=True)
class EdmObjective(Objective):
    """Errors of the denoised picture D = c_skip·(x + σn) + c_out·F, unweighted, for σ uniform over the schedule.

    Written as errors of the denoiser's own output F, which has unit scale at every σ: (D − x)² is c_out²·(F − F*)²
    with F* = (x − c_skip·(x + σn)) ÷ c_out (arXiv 2206.00364, equation 8 and table 1). The paper's weight 1 ÷ c_out²
    is left out, as the diffusers script leaves it out.
    """

    schedule: EdmSchedule

    @property
    def timesteps(self) -> int:
        """The length of the schedule."""
        return len(self.schedule.sigmas)

    def corrupt(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """c_in·(x + σn), with c_in = 1 ÷ √(σ² + σ_data²)."""
        sigmas, data = self._sigmas(timesteps).view(-1, 1, 1, 1), self.schedule.sigma_data
        return (latents + sigmas * noise) / (sigmas**2 + data**2).sqrt()

    def times(self, timesteps: Tensor) -> Tensor:
        """c_noise = ln(σ) ÷ 4, fp32."""
        return self._sigmas(timesteps).log() / 4

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """F* = ±(σ·x − σ_data²·n) ÷ (σ_data·√(σ² + σ_data²)), minus for bases that predict velocity."""
        sigmas, data = self._sigmas(timesteps).view(-1, 1, 1, 1), self.schedule.sigma_data
        wanted = (sigmas * latents - data**2 * noise) / (data * (sigmas**2 + data**2).sqrt())
        match self.schedule.prediction_type:
            case "epsilon":
                return wanted
            case "v_prediction":
                return -wanted
            case other:
                assert_never(other)

    def weights(self, timesteps: Tensor) -> Tensor:
        """c_out² = σ²·σ_data² ÷ (σ² + σ_data²)."""
        squared, data = self._sigmas(timesteps) ** 2, self.schedule.sigma_data**2
        return squared * data / (squared + data)

    def _sigmas(self, timesteps: Tensor) -> Tensor:
        return self.schedule.sigmas.to(timesteps.device, torch.float32)[timesteps]
