"""One flat buffer against the same optimizer over separate tensors, and Prodigy's published properties."""

# prodigyopt has no types, and torch's are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false

from collections.abc import Callable
from typing import Any

import pytest
import torch
from prodigyopt import Prodigy
from torch import Tensor, nn

from lorasmith.config.optimizer import AdamWConfig, ProdigyConfig
from lorasmith.optim.part import PartOptimizer

SHAPES = ((3, 5), (7,), (2, 2, 3))


def tensors(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {f"p{n}": nn.Parameter(torch.randn(s, generator=generator)) for n, s in enumerate(SHAPES)}


def loss_of(parameters: dict[str, nn.Parameter], step: int) -> Tensor:
    """A smooth loss that differs from step to step, so that a wrong counter or moment shows."""
    losses = [((p - 0.3).square() * (1 + 0.1 * step)).sum() + (p * 2 + step).sin().sum() for p in parameters.values()]
    return torch.stack(losses).sum()


def train_part(part: PartOptimizer, steps: int, loss: Callable[..., Tensor] = loss_of) -> None:
    for step in range(steps):
        part.zero_gradient()
        loss(part.parameters, step).backward()
        part.step(1.0)


def train_plain(optimizer: Any, parameters: dict[str, nn.Parameter], steps: int) -> None:
    for step in range(steps):
        optimizer.zero_grad()
        loss_of(parameters, step).backward()
        optimizer.step()


def largest_difference(ours: dict[str, nn.Parameter], theirs: dict[str, nn.Parameter]) -> float:
    return max((ours[name] - theirs[name]).abs().max().item() for name in theirs)


def test_adamw_over_one_buffer_is_adamw_over_the_tensors() -> None:
    config = AdamWConfig(beta1=0.8, beta2=0.95, eps=1e-7)
    part = PartOptimizer("part", tensors(), config, rate=3e-2, weight_decay=0.1)
    plain = tensors()
    train_part(part, 20)
    train_plain(torch.optim.AdamW(plain.values(), lr=3e-2, betas=(0.8, 0.95), eps=1e-7, weight_decay=0.1), plain, 20)
    assert largest_difference(part.parameters, plain) < 1e-6
    assert largest_difference(part.parameters, tensors()) > 0.3


@pytest.mark.parametrize("bias_correction", [True, False])
@pytest.mark.parametrize("safeguard", [True, False])
@pytest.mark.parametrize("decouple", [True, False])
def test_prodigy_over_one_buffer_is_prodigy_over_the_tensors(
    *, bias_correction: bool, safeguard: bool, decouple: bool
) -> None:
    config = ProdigyConfig(
        use_bias_correction=bias_correction, safeguard_warmup=safeguard, decouple=decouple, d0=1e-3, beta2=0.97
    )
    part = PartOptimizer("part", tensors(), config, rate=1.0, weight_decay=0.01)
    plain = tensors()
    theirs = Prodigy(
        plain.values(),
        lr=1.0,
        betas=(0.9, 0.97),
        weight_decay=0.01,  # pyright: ignore[reportArgumentType]  # annotated int, meant float
        decouple=decouple,
        use_bias_correction=bias_correction,
        safeguard_warmup=safeguard,
        d0=1e-3,
    )
    train_part(part, 20)
    train_plain(theirs, plain, 20)
    assert largest_difference(part.parameters, plain) < 1e-5
    assert part.distance == pytest.approx(theirs.param_groups[0]["d"], rel=1e-5)
    assert part.distance is not None
    assert part.distance > 2e-3, "d must have grown, or the comparison says nothing"


def prodigy(**options: Any) -> PartOptimizer:
    return PartOptimizer("part", tensors(), ProdigyConfig(**options), rate=1.0, weight_decay=0.0)


def moved(part: PartOptimizer) -> Tensor:
    return torch.cat([(part.parameters[name] - start).flatten() for name, start in tensors().items()]).detach()


def test_prodigys_first_step_moves_every_coordinate_by_d0() -> None:
    part = prodigy(d0=1e-3)
    train_part(part, 1)
    torch.testing.assert_close(moved(part).abs(), torch.full((34,), 1e-3), rtol=2e-3, atol=0)
    assert part.distance == 1e-3


def test_prodigys_first_step_without_bias_correction_has_the_published_factor() -> None:
    part = prodigy(d0=1e-3, use_bias_correction=False, beta2=0.99)
    train_part(part, 1)
    torch.testing.assert_close(moved(part).abs(), torch.full((34,), 1e-3 * 0.1 / 0.1), rtol=2e-3, atol=0)


def test_prodigys_distance_never_shrinks_and_its_path_does_not_depend_on_the_losss_scale() -> None:
    plain, scaled = prodigy(d0=1e-3), prodigy(d0=1e-3)
    distances: list[float] = []
    for step in range(30):
        for part, factor in ((plain, 1.0), (scaled, 1000.0)):
            part.zero_gradient()
            (loss_of(part.parameters, step) * factor).backward()
            part.step(1.0)
        distances.append(plain.distance or 0.0)
    assert distances == sorted(distances)
    assert distances[-1] > 10 * distances[0]
    torch.testing.assert_close(moved(plain), moved(scaled), rtol=1e-3, atol=1e-4)


def test_prodigy_leaves_everything_alone_when_all_gradients_are_zero() -> None:
    part = PartOptimizer("part", tensors(), ProdigyConfig(), rate=1.0, weight_decay=0.1)
    for _ in range(3):
        part.zero_gradient()
        part.step(1.0)
    assert not moved(part).any()


def test_a_warm_up_that_starts_at_rate_zero_neither_moves_nor_breaks_prodigy() -> None:
    part = prodigy()
    loss_of(part.parameters, 0).backward()
    part.step(0.0)
    assert not moved(part).any()
    part.step(0.5)
    assert moved(part).all()
