"""Owns the training of the oracle, a factor at a time and identities against their siblings; refuses to measure it."""
# pyright: basic, reportCallIssue=false

from __future__ import annotations

import logging
import time

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim import Optimizer

from ..evaluation.factors import FACTORS
from ..evaluation.oracle_layers import FactorParser, Parsed
from .oracle_batches import OracleBatch, OraclePictures
from .oracle_pictures import load_oracle_pictures
from .orthogonal import OrthogonalSteps
from .recipe import Recipe, Workshop
from .sitting import Sitting, set_rate
from .states import capture_optimizer, load_state, restore_optimizer, store_state

logger = logging.getLogger(__name__)

_SAVE_EVERY_SECONDS = 120.0
_WARM_UP_STEPS = 100
_TEMPERATURE = 0.1
_IDENTITY_WEIGHT = 0.5


def fit_oracle(recipe: Recipe, workshop: Workshop, sitting: Sitting, *, device: str = "cpu") -> None:
    """Train for one sitting, from the last stored state if there is one."""
    pictures = OraclePictures(recipe, load_oracle_pictures(workshop))
    torch.manual_seed(recipe.seed)
    parser = FactorParser().to(device, memory_format=torch.channels_last).train()
    optimizers = _build_optimizers(recipe, parser)
    step = _restore(workshop, parser, optimizers)
    started = saved = time.monotonic()
    losses: list[tuple[float, float]] = []
    while (spent := time.monotonic() - started) < sitting.seconds:
        set_rate(optimizers, recipe.oracle_rate * sitting.rate_share(spent) * min(1.0, (step + 1) / _WARM_UP_STEPS))
        batch = pictures.batch_at(step).to(device)
        with torch.autocast(device, torch.bfloat16):
            parsed = parser(batch.pictures.to(memory_format=torch.channels_last), batch.boxes)
        factors, identity = factor_loss(parsed, batch), identity_loss(parsed.identity, batch.shown)
        (factors + _IDENTITY_WEIGHT * identity).backward()
        nn.utils.clip_grad_norm_(parser.parameters(), 5.0)
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        step += 1
        losses.append((factors.item(), identity.item()))
        if step % 50 == 0:
            factors_mean, identity_mean = np.mean(losses, axis=0)
            logger.info("oracle step %d: %.4f, identity %.4f, %.0f s", step, factors_mean, identity_mean, spent)
            losses.clear()
        if time.monotonic() - saved > _SAVE_EVERY_SECONDS:
            _store(workshop, parser, optimizers, step)
            saved = time.monotonic()
    _store(workshop, parser, optimizers, step)


def factor_loss(parsed: Parsed, batch: OracleBatch) -> Tensor:
    """Cross entropy, summed over the factors."""
    losses = [functional.cross_entropy(parsed.scores[factor].float(), batch.labels[factor]) for factor in FACTORS]
    return torch.stack(losses).sum()


def identity_loss(embeddings: Tensor, shown: Tensor) -> Tensor:
    """Supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362): pictures of one object attract each other."""
    alike = embeddings @ embeddings.T / _TEMPERATURE
    itself = torch.eye(len(shown), dtype=torch.bool, device=shown.device)
    chances = alike.masked_fill(itself, float("-inf")).log_softmax(dim=1)
    same = (shown[:, None] == shown[None]) & ~itself
    wanted = chances.masked_fill(~same, 0.0).sum(dim=1) / same.sum(dim=1).clamp(min=1)
    return -wanted[same.any(dim=1)].mean()


def load_parser(workshop: Workshop) -> tuple[FactorParser, int]:
    """The parser of the latest stored state, and its step."""
    parts, step = load_state(workshop.oracle)
    parser = FactorParser()
    parser.load_state_dict(parts["parser"])
    return parser.eval(), step


def _build_optimizers(recipe: Recipe, parser: FactorParser) -> dict[str, Optimizer]:
    """Orthogonal steps for inner convolutions, AdamW for vectors, heads and the first layer."""
    inner = {name for name, parameter in parser.named_parameters() if _is_inner(name, parameter)}
    matrices = [parameter for name, parameter in parser.named_parameters() if name in inner]
    others = [parameter for name, parameter in parser.named_parameters() if name not in inner]
    return {
        "orthogonal": OrthogonalSteps(matrices, lr=recipe.oracle_rate),
        "adamw": torch.optim.AdamW(others, lr=recipe.oracle_rate, betas=(0.9, 0.99), weight_decay=0.0),
    }


def _is_inner(name: str, parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and not name.startswith(("glance.body.0.", "look.body.0.", "heads.", "identity."))


def _store(workshop: Workshop, parser: FactorParser, optimizers: dict[str, Optimizer], step: int) -> None:
    moments = {name: capture_optimizer(optimizer) for name, optimizer in optimizers.items()}
    store_state(workshop.oracle, {"parser": parser.state_dict(), **moments}, step=step)


def _restore(workshop: Workshop, parser: FactorParser, optimizers: dict[str, Optimizer]) -> int:
    if not workshop.oracle.exists():
        return 0
    parts, step = load_state(workshop.oracle)
    parser.load_state_dict(parts["parser"])
    for name, optimizer in optimizers.items():
        restore_optimizer(optimizer, parts[name])
    return step
