"""Owns the training of the small CLIP on pictures and the many captions of each; refuses to measure it."""
# pyright: basic

from __future__ import annotations

import logging
import random
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..evaluation.tiny_clip_layers import TinyClipTowers, token_ids
from ..world import Scene, sample_caption
from .oracle_batches import varied
from .oracle_pictures import load_oracle_pictures
from .recipe import Recipe, Workshop
from .sitting import Sitting
from .states import capture_optimizer, load_state, restore_optimizer, store_state

logger = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 120.0
_WARM_UP_STEPS = 100
_LARGEST_LOG_SCALE = 4.6  # 100, where CLIP's own is held


def fit_tiny_clip(recipe: Recipe, workshop: Workshop, sitting: Sitting, *, device: str = "cpu") -> None:
    """Train for one sitting, from the last stored state if there is one."""
    labelled = load_oracle_pictures(workshop)
    pictures, scenes = labelled.pictures, labelled.scenes
    torch.manual_seed(recipe.seed)
    towers = TinyClipTowers().to(device).train()
    optimizer = torch.optim.AdamW(towers.parameters(), lr=recipe.tiny_clip_rate, betas=(0.9, 0.98), weight_decay=0.02)
    step = _restore(workshop, towers, optimizer)
    started = saved = time.monotonic()
    losses: list[float] = []
    while (spent := time.monotonic() - started) < sitting.seconds:
        for group in optimizer.param_groups:
            group["lr"] = recipe.tiny_clip_rate * sitting.rate_share(spent) * min(1.0, (step + 1) / _WARM_UP_STEPS)
        rng = np.random.default_rng((recipe.seed, 7, step))
        chosen = rng.choice(len(pictures), recipe.tiny_clip_batch, replace=False)
        pixels = torch.from_numpy(pictures[chosen]).permute(0, 3, 1, 2).float() / 127.5 - 1.0
        loss = contrast(towers, varied(pixels, rng), _captions([scenes[index] for index in chosen], step))
        loss.backward()
        nn.utils.clip_grad_norm_(towers.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        losses.append(loss.item())
        if step % 50 == 0:
            logger.info("small CLIP step %d: %.4f, %.0f s", step, np.mean(losses), spent)
            losses.clear()
        if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            _store(workshop, towers, optimizer, step)
            saved = time.monotonic()
    _store(workshop, towers, optimizer, step)


def contrast(towers: TinyClipTowers, pictures: Tensor, captions: list[str]) -> Tensor:
    """CLIP's loss (Radford et al. 2021, arXiv 2103.00020): each picture finds its caption, each caption its picture."""
    device = towers.log_scale.device
    with torch.autocast(device.type, torch.bfloat16):
        seen, read = towers.picture(pictures.to(device)), towers.caption(token_ids(captions).to(device))
    scores = seen @ read.T * towers.log_scale.clamp(max=_LARGEST_LOG_SCALE).exp()
    own = torch.arange(len(captions), device=device)
    return (functional.cross_entropy(scores, own) + functional.cross_entropy(scores.T, own)) / 2


def load_towers(workshop: Workshop) -> tuple[TinyClipTowers, int]:
    """The towers of the latest stored state, and its step."""
    parts, step = load_state(workshop.tiny_clip)
    towers = TinyClipTowers()
    towers.load_state_dict(parts["towers"])
    return towers.eval(), step


def _captions(scenes: list[Scene], step: int) -> list[str]:
    rng = random.Random(f"small CLIP/{step}")
    return [sample_caption(scene, rng) for scene in scenes]


def _store(workshop: Workshop, towers: TinyClipTowers, optimizer: torch.optim.Optimizer, step: int) -> None:
    parts = {"towers": towers.state_dict(), "optimizer": capture_optimizer(optimizer)}
    store_state(workshop.tiny_clip, parts, step=step)


def _restore(workshop: Workshop, towers: TinyClipTowers, optimizer: torch.optim.Optimizer) -> int:
    if not workshop.tiny_clip.exists():
        return 0
    parts, step = load_state(workshop.tiny_clip)
    towers.load_state_dict(parts["towers"])
    restore_optimizer(optimizer, parts["optimizer"])
    return step
