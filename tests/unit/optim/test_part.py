"""One part's optimizer: its flat buffer, its state, and what a rescaling does to Prodigy's distance."""

# prodigyopt has no types, and torch's are partial.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import json
from typing import Any

import pytest
import torch
from prodigyopt import Prodigy
from torch import Tensor, nn

from lorasmith.config.optimizer import (
    AdafactorConfig,
    AdamWConfig,
    OptimizerConfig,
    ProdigyConfig,
    ScheduleFreeProdigyConfig,
)
from lorasmith.optim.part import OptimizerState, PartOptimizer

CONFIGS: dict[str, OptimizerConfig] = {
    "adamw": AdamWConfig(),
    "adamw, 8-bit": AdamWConfig(eight_bit=True),
    "prodigy": ProdigyConfig(d0=1e-3),
    "prodigy without momentum": ProdigyConfig(d0=1e-3, beta1=0.0),
    "adafactor": AdafactorConfig(),
    "adafactor with momentum": AdafactorConfig(beta1=0.9, scale_parameter=True),
    "schedule-free prodigy": ScheduleFreeProdigyConfig(d0=1e-3),
}
EACH = pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
SMALL, WIDE = {"down": (2, 3), "up": (3, 2)}, {"down": (40, 64), "up": (64, 40)}
"""WIDE is as large as 8-bit state needs, 4,096 numbers."""


def part_of(
    config: OptimizerConfig, seed: int = 0, *, rate: float = 1e-2, shapes: dict[str, tuple[int, int]] = SMALL
) -> PartOptimizer:
    generator = torch.Generator().manual_seed(seed)
    parameters = {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}
    return PartOptimizer("part", parameters, config, rate=rate, weight_decay=0.01)


def update(part: PartOptimizer, step: int, multiplier: float = 1.0) -> None:
    part.zero_gradient()
    torch.stack([(p * (step + 1)).sin().sum() for p in part.parameters.values()]).sum().backward()
    part.step(multiplier)


@EACH
def test_parameters_are_views_into_the_buffer_and_stay_so(config: OptimizerConfig) -> None:
    part = part_of(config)
    for step in range(3):
        update(part, step)
        flat = torch.cat([parameter.detach().flatten() for parameter in part.parameters.values()])
        assert torch.equal(flat, part.buffer.detach())
        grads = [parameter.grad for parameter in part.parameters.values()]
        assert torch.equal(torch.cat([grad.flatten() for grad in grads if grad is not None]), part.gradient)


@EACH
@pytest.mark.parametrize("shapes", [SMALL, WIDE], ids=["small", "wide"])
def test_a_state_put_back_through_json_goes_on_to_the_last_bit(
    config: OptimizerConfig, shapes: dict[str, tuple[int, int]]
) -> None:
    whole, before, after = (part_of(config, seed, shapes=shapes) for seed in (0, 0, 9))
    for step in range(8):
        update(whole, step, 1 - step / 10)
    for step in range(4):
        update(before, step, 1 - step / 10)
    saved = before.capture()
    after.load_parameters({name: parameter.detach() for name, parameter in before.parameters.items()})
    tensors = {name: tensor.clone() for name, tensor in saved.tensors.items()}
    after.restore(OptimizerState(tensors, json.loads(json.dumps(saved.numbers))))
    for step in range(4, 8):
        update(after, step, 1 - step / 10)
    assert torch.equal(whole.buffer, after.buffer)
    assert not torch.equal(whole.buffer, before.buffer)
    assert whole.distance == after.distance
    assert_same_state(after.capture(), whole.capture())


def assert_same_state(found: OptimizerState, wanted: OptimizerState) -> None:
    assert found.tensors.keys() == wanted.tensors.keys()
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in wanted.tensors.items())
    assert found.numbers == wanted.numbers


def test_a_gradient_longer_than_allowed_is_cut_to_length_and_a_shorter_one_is_left() -> None:
    part = part_of(AdamWConfig())
    part.gradient.fill_(3.0)
    assert part.clip_gradient(1.0) == pytest.approx(3.0 * 12**0.5)
    assert part.gradient.norm().item() == pytest.approx(1.0, rel=1e-4)
    part.gradient.fill_(0.01)
    part.clip_gradient(1.0)
    assert part.gradient.tolist() == pytest.approx([0.01] * 12)
    part.gradient.fill_(3.0)
    part.clip_gradient(None)
    assert part.gradient.tolist() == [3.0] * 12


def test_a_part_that_is_not_trainable_gets_no_gradient() -> None:
    part = part_of(AdamWConfig())
    part.set_trainable(trainable=False)
    loss = (part.parameters["down"] * nn.Parameter(torch.ones(2, 3))).sum()
    loss.backward()
    assert not part.gradient.any()
    part.set_trainable(trainable=True)
    part.parameters["down"].sum().backward()
    assert part.gradient.any()


def test_the_effective_rate_is_d_times_the_rate_under_prodigy() -> None:
    prodigy, adamw = part_of(ProdigyConfig(d0=1e-3), rate=2.0), part_of(AdamWConfig(), rate=2e-4)
    assert prodigy.effective_rate(0.5) == pytest.approx(1e-3)
    assert adamw.effective_rate(0.5) == pytest.approx(1e-4)
    assert adamw.distance is None


def test_each_part_has_its_own_distance_and_its_own_rate() -> None:
    """C-20: under Prodigy the script refuses different rates at its first step, its own default among them."""
    slow, fast = part_of(ProdigyConfig(d0=1e-3), rate=5e-6), part_of(ProdigyConfig(d0=1e-3), rate=1.0)
    for part in (slow, fast):
        for _ in range(10):
            part.gradient.fill_(0.5)
            part.step(1.0)
    assert (slow.distance or 0.0) == pytest.approx(1e-3)
    assert (fast.distance or 0.0) > 3e-3
    groups: list[dict[str, Any]] = [{"params": [nn.Parameter(torch.ones(2))], "lr": rate} for rate in (1.0, 5e-6)]
    theirs = Prodigy(groups)
    for group in groups:
        group["params"][0].grad = torch.ones(2)
    with pytest.raises(RuntimeError, match="different lr values"):
        theirs.step()


WANTED = torch.linspace(-1, 1, 64)


def pulled(*, spread: float, with_first_point: bool) -> tuple[float, float]:
    """(d, cosine of the rows with where their gradient leads) after 60 updates under the pull to a spread of 0.4."""
    generator = torch.Generator().manual_seed(0)
    rows = nn.Parameter(spread * torch.randn(64, generator=generator))
    part = PartOptimizer("new_tokens_1", {"rows": rows}, ProdigyConfig(), rate=1.0, weight_decay=0.0)
    for _ in range(60):
        part.gradient.copy_(-(WANTED + 0.3 * torch.randn(64, generator=generator)) / 64)
        part.step(1.0)
        factor = (0.4 / rows.detach().std().item()) ** 0.1
        if with_first_point:
            part.rescale(factor)
        else:
            with torch.no_grad():
                part.buffer.mul_(factor)
    alike: Tensor = torch.nn.functional.cosine_similarity(rows.detach(), WANTED, dim=0)
    return part.distance or 0.0, alike.item()


def test_the_norm_pull_does_not_drown_prodigys_distance() -> None:
    """Prodigy measures the way from its first point, so a rescaling of the rows alone counts as way made.

    Started too wide, d never leaves 1e-6 and the rows stay at random (cosine 0.17); started too narrow, d grows from
    nothing to 10.6. With the first point rescaled alongside: 1.4 and 2.2, and both arrive (cosine 0.94).
    """
    wide, narrow = (pulled(spread=spread, with_first_point=True) for spread in (0.8, 0.2))
    wide_alone, narrow_alone = (pulled(spread=spread, with_first_point=False) for spread in (0.8, 0.2))
    assert wide_alone[0] == pytest.approx(1e-6)
    assert wide_alone[1] < 0.3
    assert narrow_alone[0] > 4 * narrow[0]
    assert 0.5 < wide[0] / narrow[0] < 2
    assert min(wide[1], narrow[1]) > 0.9


def distance_on(tables: int, *, only_rows: bool) -> float:
    """d after 50 updates of two rows that have a way to go, beside `tables` words that are put back each time."""
    generator = torch.Generator().manual_seed(0)
    start = 0.1 * torch.randn(tables + 2, 8, generator=generator)
    goal = start[-2:] + 0.5 * torch.randn(2, 8, generator=generator).sign()
    table = nn.Parameter((start[-2:] if only_rows else start).clone())
    part = PartOptimizer(
        "rows", {"rows": table}, ProdigyConfig(use_bias_correction=True, d0=1e-4), rate=1.0, weight_decay=0.0
    )
    for step in range(50):
        part.zero_gradient()
        ((table[-2:] - goal).square().sum() / 2).backward()
        if not only_rows:
            # Every word of a prompt gets a gradient too; the script steps it and puts it back.
            part.gradient.view_as(table)[: tables // 2].add_(0.3 * (-1) ** step)
            part.gradient.view_as(table)[tables // 2 : tables].add_(0.3)
        part.step(1.0)
        if not only_rows:
            table.data[:tables] = start[:tables]
    return part.distance or 0.0


def test_prodigy_distance_is_not_held_down_by_the_vocabulary() -> None:
    """C-10: with whole tables in the optimizer, words that are stepped and put back only fill d's denominator."""
    ours, theirs = distance_on(20, only_rows=True), distance_on(20, only_rows=False)
    assert ours > 3 * theirs, (ours, theirs)
