"""The arms a training step is compared in, and the step as the formulae say it, without lorasmith's objectives."""

# diffusers and transformers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import DDPMScheduler, EDMEulerScheduler, EulerDiscreteScheduler
from diffusers.training_utils import compute_snr
from torch import Tensor

from lorasmith.data.batches import Batch
from lorasmith.training.loop import Training
from lorasmith.training.step import StepDraws

PRIOR = {"class_prompt": "a photo of a dog", "num_class_images": 3, "weight": 0.7}
SCRIPTS_LAYERS = {"targets": "attention"}
ARMS: dict[str, dict[str, Any]] = {
    name: {"adapter": SCRIPTS_LAYERS, **arm}
    for name, arm in {
        "plain": {"tokens": {"enabled": False}},
        "min-snr": {"tokens": {"enabled": False}, "objective": {"snr_gamma": 5.0}},
        "prior": {"tokens": {"enabled": False}, "prior": PRIOR},
        "prior and min-snr": {"prior": PRIOR, "objective": {"snr_gamma": 2.0, "noise_offset": 0.1}},
        "EDM's style": {"tokens": {"enabled": False}, "objective": {"edm_style": True}},
        "pivotal": {},
        "text encoders": {
            "tokens": {"enabled": False},
            "adapter": {"rank": 4, "text_encoders": True, **SCRIPTS_LAYERS},
        },
    }.items()
}
BASES = ("tiny_base", "tiny_v_base", "tiny_edm_base")


def fits(arm: str, base: str) -> bool:
    """Min-SNR weights mean nothing on an EDM base, which has its own style."""
    return base != "tiny_edm_base" or "snr_gamma" not in ARMS[arm].get("objective", {})


@dataclass(frozen=True)
class WrittenOut:
    """The losses of a step by the formulae."""

    total: Tensor
    instance: Tensor
    prior: Tensor | None


def written_out(training: Training, batch: Batch, draws: StepDraws, config: dict[str, Any]) -> WrittenOut:
    """Total, instance and prior loss, example by example, with diffusers' own schedulers."""
    weight = config.get("prior", {}).get("weight", 1.0)
    losses: dict[str, list[Tensor]] = {"instance": [], "class": []}
    for place, draw in enumerate(batch.draws):
        latents = batch.latents.mean[place] + batch.latents.std[place] * draws.posterior[place]
        noise = draws.noise[place] + config.get("objective", {}).get("noise_offset", 0.0) * draws.offsets[place]
        example = _Example(training, batch, place)
        loss = example.loss(latents[None], noise[None], draws.timesteps[place : place + 1], config.get("objective", {}))
        losses[str(draw.example.role)].append(loss)
    instance = torch.stack(losses["instance"]).mean()
    if not losses["class"]:
        return WrittenOut(instance, instance, None)
    prior = torch.stack(losses["class"]).mean()
    return WrittenOut(instance + weight * prior, instance, prior)


@dataclass(frozen=True)
class _Example:
    training: Training
    batch: Batch
    place: int

    @property
    def parts(self) -> Any:
        family: Any = self.training.family
        return family.components

    def loss(self, latents: Tensor, noise: Tensor, timestep: Tensor, options: dict[str, Any]) -> Tensor:
        config = self.parts.scheduler_config
        if "EDM" in config["_class_name"]:
            return self._edm_loss(latents, noise, timestep)
        if options.get("edm_style"):
            return self._edm_style_loss(latents, noise, timestep)
        return self._ddpm_loss(latents, noise, timestep, options.get("snr_gamma"))

    def _ddpm_loss(self, latents: Tensor, noise: Tensor, timestep: Tensor, gamma: float | None) -> Tensor:
        scheduler: Any = DDPMScheduler.from_config(self.parts.scheduler_config)
        prediction = self._denoise(scheduler.add_noise(latents, noise, timestep), timestep)
        velocity = scheduler.config.prediction_type == "v_prediction"
        target = scheduler.get_velocity(latents, noise, timestep) if velocity else noise
        loss = (prediction - target).pow(2).mean()
        if gamma is None:
            return loss
        snr = compute_snr(scheduler, timestep)[0]
        return loss * min(snr.item(), gamma) / (snr + 1 if velocity else snr)

    def _edm_style_loss(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        scheduler: Any = EulerDiscreteScheduler.from_config(self.parts.scheduler_config)
        sigma = scheduler.sigmas[len(scheduler.timesteps) - 1 - int(timestep)]
        noisy = latents + sigma * noise
        output = self._denoise(noisy / (sigma**2 + 1).sqrt(), timestep)
        if scheduler.config.prediction_type == "v_prediction":
            denoised = output * (-sigma / (sigma**2 + 1) ** 0.5) + noisy / (sigma**2 + 1)
        else:
            denoised = noisy - sigma * output
        return (denoised - latents).pow(2).mean() / sigma**2

    def _edm_loss(self, latents: Tensor, noise: Tensor, timestep: Tensor) -> Tensor:
        scheduler: Any = EDMEulerScheduler.from_config(self.parts.scheduler_config)
        place = scheduler.config.num_train_timesteps - 1 - int(timestep)
        sigma = scheduler.sigmas[place]
        noisy = latents + sigma * noise
        output = self._denoise(scheduler.precondition_inputs(noisy, sigma), scheduler.timesteps[place][None])
        denoised = scheduler.precondition_outputs(noisy, output, sigma)
        return (denoised - latents).pow(2).mean()

    def _denoise(self, noisy: Tensor, time: Tensor) -> Tensor:
        hidden, pooled = self._encoded()
        view = self.batch.draws[self.place].view
        sizes = [*view.original, *view.crop_top_left, *view.target]
        conditions = {"text_embeds": pooled, "time_ids": torch.tensor([sizes], dtype=torch.float)}
        return self.parts.unet(noisy, time, encoder_hidden_states=hidden, added_cond_kwargs=conditions).sample

    def _encoded(self) -> tuple[Tensor, Tensor]:
        caption = self.batch.captions[self.place]
        prompt = caption.replace("TOK", "<s0><s1>") if self.training.new_tokens else caption
        first, second = (
            encoder(
                tokenizer(prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids,
                output_hidden_states=True,
            )
            for tokenizer, encoder in (
                (self.parts.tokenizer_1, self.parts.text_encoder_1),
                (self.parts.tokenizer_2, self.parts.text_encoder_2),
            )
        )
        return torch.cat([first.hidden_states[-2], second.hidden_states[-2]], dim=-1), second.text_embeds


def away_from_zero(training: Training) -> None:
    """Move every part's parameters a little: up-weights of zero leave the down-weights no gradient to compare."""
    for part in training.parts.values():
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            part.buffer.add_(0.05 * torch.randn(part.buffer.shape, generator=generator))


def differentiated(training: Training, total: Tensor) -> dict[str, Tensor]:
    """Every part's flat gradient."""
    for part in training.parts.values():
        part.zero_gradient()
    total.backward()
    return {name: part.gradient.clone() for name, part in training.parts.items()}
