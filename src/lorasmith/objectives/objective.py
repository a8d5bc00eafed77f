"""Owns what the trainer asks of an objective: how pictures are noised, what is predicted, what an error counts."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """Noising, targets and loss weights for one noise schedule; pure, and draws nothing itself.

    Timesteps are places in the schedule, 0 having the least noise.
    """

    noise_offset: float = 0.0

    @property
    @abstractmethod
    def timesteps(self) -> int:
        """How many timesteps the schedule has."""

    @abstractmethod
    def corrupt(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the denoiser is given: latents [B, C, h, w] under noise, at the scale it expects."""

    @abstractmethod
    def times(self, timesteps: Tensor) -> Tensor:
        """What the denoiser is told of the timesteps [B]."""

    @abstractmethod
    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """What the prediction [B, C, h, w] should be."""

    @abstractmethod
    def weights(self, timesteps: Tensor) -> Tensor:
        """What each example's mean squared error counts [B]."""

    def timestep_of(self, unit: float) -> int:
        """A training timestep from a uniform draw in [0, 1)."""
        return int(unit * self.timesteps)

    def noise(self, unit_noise: Tensor, offsets: Tensor) -> Tensor:
        """Noise [B, C, h, w] from unit noise and one unit draw per example and channel [B, C, 1, 1]."""
        return unit_noise + self.noise_offset * offsets

    def losses(self, prediction: Tensor, target: Tensor, timesteps: Tensor, masks: Tensor | None = None) -> Tensor:
        """One weighted fp32 mean squared error per example [B]; over `masks` [B, 1, h, w] where there are any."""
        errors = (prediction.float() - target.float()).square()
        return mean_over(errors, masks) * self.weights(timesteps)


def mean_over(errors: Tensor, masks: Tensor | None) -> Tensor:
    """The mean of errors [B, C, h, w] per example [B], each place counting what `masks` [B, 1, h, w] say.

    Divided by what the mask adds up to, and not by the picture's area: a small subject teaches as fast as a large one.
    Less than one whole place is not blown up: a crop with nothing but a mask's soft edge teaches little, one without it
    nothing.
    """
    if masks is None:
        return errors.flatten(1).mean(1)
    masks = masks.to(errors.device, errors.dtype)
    places = masks.flatten(1).sum(1).clamp(min=1.0)
    return (errors * masks).flatten(1).sum(1) / (places * errors.shape[1])
