"""Ours against each library's own optimizer over separate tensors, and Prodigy's published properties.

Twenty updates each, from the same recorded gradients or the same loss; `pytest -rP` prints how far apart they end.
"""

# prodigyopt and prodigyplus have no types; torch's, transformers' and bitsandbytes' are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportMissingTypeStubs=false
# pyright: reportUnknownArgumentType=false

import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from bitsandbytes.optim import AdamW8bit
from prodigyopt import Prodigy
from prodigyplus import ProdigyPlusScheduleFree
from torch import Tensor, nn
from transformers.optimization import Adafactor

from lorasmith.config.optimizer import AdafactorConfig, AdamWConfig, ProdigyConfig, ScheduleFreeProdigyConfig
from lorasmith.optim.part import PartOptimizer

SHAPES = ((3, 5), (7,), (2, 2, 3))
UPDATES = 20


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


def recorded_gradients(shapes: dict[str, torch.Size]) -> list[dict[str, Tensor]]:
    """Gradients with a direction that lasts and noise on it, as a run's are."""
    generator = torch.Generator().manual_seed(11)
    lasting = {name: 0.1 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    return [
        {name: lasting[name] + 0.05 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
        for _ in range(UPDATES)
    ]


def replay(part: PartOptimizer, theirs: Any, plain: dict[str, nn.Parameter]) -> None:
    """Give both the same gradients, one update after the other."""
    for gradients in recorded_gradients({name: parameter.shape for name, parameter in plain.items()}):
        for name, gradient in gradients.items():
            ours = part.parameters[name].grad
            assert ours is not None
            ours.copy_(gradient)
            plain[name].grad = gradient.clone()
        part.step(1.0)
        theirs.step()


def assert_within(tolerance: float, ours: dict[str, nn.Parameter], theirs: dict[str, nn.Parameter]) -> None:
    """No coordinate differs by more than the tolerance, which is a share of the longest way any has gone."""
    start = {name: tensor.detach() for name, tensor in tensors_like(theirs).items()}
    way = max((theirs[name].detach() - start[name]).abs().max().item() for name in theirs)
    apart = largest_difference(ours, theirs) / way
    sys.stdout.write(f"after {UPDATES} updates: {apart:.1e} of the longest way ({way:.3g}); allowed {tolerance:.0e}\n")
    assert apart <= tolerance


def tensors_like(some: dict[str, nn.Parameter], seed: int = 0) -> dict[str, nn.Parameter]:
    """Tensors of the same shapes at the start all comparisons share, in steps of 1/128, so that bf16 can say them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: nn.Parameter(torch.randint(-64, 64, tensor.shape, generator=generator) / 128)
        for name, tensor in some.items()
    }


def start_of(*shapes: tuple[int, ...]) -> dict[str, nn.Parameter]:
    return tensors_like({f"p{n}": nn.Parameter(torch.empty(shape)) for n, shape in enumerate(shapes)})


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("scaled", [True, False])
def test_adafactor_over_views_is_the_librarys_over_separate_tensors(*, momentum: float, scaled: bool) -> None:
    config = AdafactorConfig(beta1=momentum, scale_parameter=scaled, clip_threshold=0.9, decay_rate=-0.7)
    plain = start_of((24, 40), (7,), (2, 8, 3))
    part = PartOptimizer("part", start_of((24, 40), (7,), (2, 8, 3)), config, rate=3e-3, weight_decay=0.1)
    theirs = Adafactor(
        plain.values(), lr=3e-3, eps=(1e-30, 1e-3), clip_threshold=0.9, decay_rate=-0.7, beta1=momentum or None,
        weight_decay=0.1, scale_parameter=scaled, relative_step=False,
    )  # fmt: skip
    replay(part, theirs, plain)
    assert_within(1e-6, part.parameters, plain)


def test_adafactors_relative_steps_are_a_rate_of_a_hundredth() -> None:
    """Relative steps are min(0.01, 1/√t): a constant for the first ten thousand steps, so there is no option for it."""
    plain = start_of((24, 40), (7,))
    config = AdafactorConfig(scale_parameter=True)
    part = PartOptimizer("part", start_of((24, 40), (7,)), config, rate=1e-2, weight_decay=0.0)
    replay(part, Adafactor(plain.values(), scale_parameter=True, relative_step=True), plain)
    assert_within(1e-6, part.parameters, plain)


def test_torchs_adafactor_hardly_moves_matrices_that_start_at_zero() -> None:
    """Why it is not torch's: its rate is always multiplied by the matrix, and LoRA's up-weights start at zero."""
    ups = {"up": nn.Parameter(torch.zeros(24, 40))}
    theirs = {"up": nn.Parameter(torch.zeros(24, 40))}
    part = PartOptimizer("part", ups, AdafactorConfig(), rate=1e-3, weight_decay=0.0)
    replay(part, torch.optim.Adafactor(theirs.values(), lr=1e-3), theirs)
    assert part.parameters["up"].abs().mean() > 500 * theirs["up"].abs().mean()


def test_schedule_free_prodigy_over_one_buffer_is_the_librarys_over_separate_tensors() -> None:
    """Of sizes that are multiples of eleven, since the library looks at every eleventh number of each tensor."""
    shapes = ((11, 4), (22,), (2, 11, 3))
    plain = start_of(*shapes)
    config = ScheduleFreeProdigyConfig(d0=1e-3, beta1=0.85, d_limiter=False, use_stableadamw=False)
    part = PartOptimizer("part", start_of(*shapes), config, rate=1.0, weight_decay=0.02)
    theirs: Any = ProdigyPlusScheduleFree(
        plain.values(), d0=1e-3, betas=(0.85, 0.99), weight_decay=0.02, factored=False, use_stableadamw=False,
        d_limiter=False, split_groups=False,
    )  # fmt: skip
    for tensor in plain.values():  # in bf16, as the library has it, d depends on how the numbers are cut into tensors
        tensor.grad = torch.zeros_like(tensor)
        state = theirs.initialise_state(tensor, theirs.param_groups[0])
        state["s"] = state["s"].float()
    train_part(part, UPDATES)
    train_plain(theirs, plain, UPDATES)
    assert part.distance == pytest.approx(theirs.param_groups[0]["d"], rel=1e-4)
    assert (part.distance or 0.0) > 5e-3, "d must have grown, or the comparison says nothing"
    assert_within(1e-3, part.parameters, plain)
    theirs.eval()
    with part.as_used():
        assert_within(1e-3, part.parameters, plain)


def test_schedule_free_prodigy_with_all_its_defaults_is_the_librarys_over_one_tensor() -> None:
    plain = start_of((704,))
    part = PartOptimizer("part", start_of((704,)), ScheduleFreeProdigyConfig(), rate=1.0, weight_decay=0.0)
    theirs: Any = ProdigyPlusScheduleFree(plain.values(), split_groups=False)
    replay(part, theirs, plain)
    assert part.distance == theirs.param_groups[0]["d"]
    assert_within(0.0, part.parameters, plain)


def test_8_bit_adamw_is_the_librarys_over_one_tensor_and_near_adamw() -> None:
    """Over one buffer even a part of small matrices is kept in 8 bits; the library keeps each under 4,096 in 32."""
    plain, exact = start_of((8192,)), start_of((8192,))
    config = AdamWConfig(eight_bit=True)
    part = PartOptimizer("part", start_of((8192,)), config, rate=1e-2, weight_decay=0.01)
    replay(part, AdamW8bit(plain.values(), lr=1e-2, weight_decay=0.01), plain)
    assert_within(0.0, part.parameters, plain)
    again = PartOptimizer("part", start_of((8192,)), AdamWConfig(), rate=1e-2, weight_decay=0.01)
    replay(again, torch.optim.AdamW(exact.values(), lr=1e-2, weight_decay=0.01), exact)
    assert_within(1e-6, again.parameters, exact)
    ways = [torch.cat([(p - s).flatten() for p, s in zip(one.values(), start_of((8192,)).values(), strict=True)])
            for one in (part.parameters, exact)]  # fmt: skip
    apart = ((ways[0] - ways[1]).norm() / ways[1].norm()).item()
    sys.stdout.write(f"8 bits against 32 after {UPDATES} updates: {apart:.1%} of the way\n")
    assert 0 < apart < 0.05


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


def test_prodigys_growth_rate_bounds_d_only_once_it_has_left_its_start() -> None:
    """The first jump is unbounded: d leaves d0 for the estimate itself."""
    distances = distances_of(prodigy(d0=1e-3, growth_rate=1.02), UPDATES)
    ratios = [after / before for before, after in pairwise(distances) if before > 1e-3]
    assert max(ratios) == pytest.approx(1.02, rel=1e-6)
    left = next(distance for distance in distances if distance > 1e-3)
    assert left / 1e-3 > 1.02
    assert distances_of(prodigy(d0=1e-3), UPDATES)[-1] > 2 * distances[-1]


def distances_of(part: PartOptimizer, steps: int) -> list[float]:
    found: list[float] = []
    for step in range(steps):
        part.zero_gradient()
        loss_of(part.parameters, step).backward()
        part.step(1.0)
        found.append(part.distance or 0.0)
    return found


def test_prodigys_distance_settles_a_small_factor_below_the_way_to_the_optimum() -> None:
    """On a quadratic whose optimum is 2 away in each of 20 coordinates."""
    rows = nn.Parameter(torch.zeros(20))
    config = ProdigyConfig(use_bias_correction=False, safeguard_warmup=False)
    part = PartOptimizer("part", {"rows": rows}, config, rate=1.0, weight_decay=0.0)
    curvature = torch.linspace(0.5, 2.0, 20)
    distances: list[float] = []
    for _ in range(1000):
        part.zero_gradient()
        (curvature * (rows - 2.0).square()).sum().backward()
        part.step(1.0)
        distances.append(part.distance or 0.0)
    assert 0.1 < distances[-1] / 2.0 < 1.0
    assert distances[-1] == pytest.approx(distances[500], rel=0.05)
    assert (rows - 2.0).abs().max() < 0.1


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
