"""Owns the joint training of denoiser and text encoders from cached latents; refuses pictures and the autoencoder."""
# pyright: basic

from __future__ import annotations

import json
import logging
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from .examples import Batch, Examples, batch_at
from .networks import Networks, build_scheduler, embed_captions
from .orthogonal import OrthogonalSteps, is_matrix
from .recipe import Recipe, Workshop
from .sitting import Sitting
from .states import MovingAverage, capture_optimizer, load_state, restore_optimizer, store_state
from .vocabulary import encode_captions, load_tokenizer

logger = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 150.0


def fit_denoiser(recipe: Recipe, workshop: Workshop, sitting: Sitting, *, device: str) -> None:
    """Train for one sitting, from the last stored state if there is one."""
    examples = load_examples(recipe, workshop)
    networks = build_networks(recipe, workshop).to(device)
    optimizers = build_optimizers(recipe, networks)
    average = MovingAverage(networks, recipe.ema_decay)
    step = _restore(workshop, networks, optimizers, average)
    alphas = build_scheduler().alphas_cumprod
    sigmas = ((1 - alphas) / alphas).sqrt().numpy()
    started = saved = time.monotonic()
    losses: list[float] = []
    while (spent := time.monotonic() - started) < sitting.seconds:
        _set_rate(recipe, optimizers, sitting.rate_share(spent), step)
        batch = batch_at(recipe, examples, sigmas, step)
        loss = example_losses(networks, batch, alphas.to(device), device=device).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        average.update(step)
        losses.append(loss.item())
        if step % 100 == 0:
            logger.info("step %d: loss %.4f, %d samples, %.0f s", step, np.mean(losses), step * recipe.batch, spent)
            losses.clear()
        if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            _store(workshop, networks, optimizers, average, step)
            saved = time.monotonic()
    _store(workshop, networks, optimizers, average, step)


def example_losses(networks: Networks, batch: Batch, alphas: Tensor, *, device: str) -> Tensor:
    """Squared error of the v-prediction (Salimans and Ho 2022, arXiv 2202.00512), one number per example."""
    latents, noise = (torch.from_numpy(array).to(device) for array in (batch.latents, batch.noise))
    timesteps = torch.from_numpy(batch.timesteps).to(device)
    signal = alphas[timesteps].sqrt()[:, None, None, None]
    spread = (1 - alphas[timesteps]).sqrt()[:, None, None, None]
    zeroed = torch.from_numpy(batch.zeroed).to(device)
    with torch.autocast(device, torch.bfloat16):
        conditioning = embed_captions(networks, torch.from_numpy(batch.token_ids).to(device))
        prediction = networks.denoiser(
            signal * latents + spread * noise,
            timesteps,
            encoder_hidden_states=conditioning.states.masked_fill(zeroed[:, None, None], 0.0),
            added_cond_kwargs={
                "text_embeds": conditioning.pooled.masked_fill(zeroed[:, None], 0.0),
                "time_ids": torch.from_numpy(batch.time_ids).to(device),
            },
        ).sample
    target = signal * noise - spread * latents
    return (prediction.float() - target).square().mean(dim=(1, 2, 3))


def build_networks(recipe: Recipe, workshop: Workshop) -> Networks:
    """Fresh networks for the vocabulary of this workshop."""
    torch.manual_seed(recipe.seed)
    return Networks(recipe, len(json.loads((workshop.tokenizer / "vocab.json").read_text())))


def load_examples(recipe: Recipe, workshop: Workshop) -> Examples:
    """Latents and token ids as `prepare` left them."""
    tokenizer = load_tokenizer(workshop.tokenizer, pad_token="<|endoftext|>", length=recipe.prompt_tokens)
    empty = encode_captions(tokenizer, [""], length=recipe.prompt_tokens)[0]
    return Examples(np.load(workshop.latents, mmap_mode="r"), np.load(workshop.token_ids), empty)


def build_optimizers(recipe: Recipe, networks: Networks) -> dict[str, Optimizer]:
    """Orthogonal steps for inner matrices, AdamW for vectors, embeddings and the outer layers."""
    named = list(networks.named_parameters())
    matrices = [parameter for name, parameter in named if is_matrix(name, parameter)]
    others = [parameter for name, parameter in named if not is_matrix(name, parameter)]
    return {
        "orthogonal": OrthogonalSteps(matrices, lr=recipe.rate),
        "adamw": torch.optim.AdamW(others, lr=recipe.rate, betas=(0.9, 0.99), fused=True),
    }


def _set_rate(recipe: Recipe, optimizers: dict[str, Optimizer], share: float, step: int) -> None:
    for optimizer in optimizers.values():
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate * share * min(1.0, (step + 1) / recipe.warm_up_steps)


def _store(
    workshop: Workshop, networks: Networks, optimizers: dict[str, Optimizer], average: MovingAverage, step: int
) -> None:
    moments = {name: capture_optimizer(optimizer) for name, optimizer in optimizers.items()}
    weights = dict(networks.named_parameters())
    store_state(workshop.denoiser, {"weights": weights, "average": average.averages, **moments}, step=step)


def _restore(workshop: Workshop, networks: Networks, optimizers: dict[str, Optimizer], average: MovingAverage) -> int:
    if not workshop.denoiser.exists():
        return 0
    parts, step = load_state(workshop.denoiser)
    networks.load_state_dict(parts["weights"], strict=False)
    for name, optimizer in optimizers.items():
        restore_optimizer(optimizer, parts.get(name, {}))
    average.restore(parts["average"])
    return step
