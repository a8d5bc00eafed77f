# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch is only partly typed.
"""Low-rank changes are stacked, compacted and cut as dense matrices say."""

import pytest
import torch
from torch import Tensor

from lorasmith.formats.weights import ModuleAdapter
from lorasmith.merging.factors import Cut, compact, cut_dense, row_space, stacked, undivided


def adapter(rank: int, *, out: int = 12, width: int = 9, seed: int = 0) -> ModuleAdapter:
    """A random one."""
    generator = torch.Generator().manual_seed(seed)
    return ModuleAdapter(torch.randn(rank, width, generator=generator), torch.randn(out, rank, generator=generator))


def relative(found: Tensor, wanted: Tensor) -> float:
    """How far one is from the other, as a share of its norm."""
    return ((found - wanted).norm() / wanted.norm()).item()


def test_stacking_is_the_sum_of_dense_changes_at_the_sum_of_ranks() -> None:
    one, other = adapter(2), adapter(5, seed=1)
    both = stacked([one, other])
    assert both.rank == 7
    assert relative(both.change(), one.change() + other.change()) < 1e-6


def test_compacting_finds_the_rank_that_a_change_really_has() -> None:
    one = adapter(3)
    twice = stacked([one.scaled(0.5), one.scaled(0.25)])
    small = compact(twice)
    assert (twice.rank, small.rank) == (6, 3)
    assert relative(small.change(), 0.75 * one.change()) < 1e-6


def test_compacting_what_is_compact_changes_not_a_bit() -> None:
    one = adapter(3)
    assert compact(one) is one


def test_a_change_of_nothing_keeps_one_row() -> None:
    nothing = stacked([adapter(2), adapter(2).scaled(-1)])
    assert compact(nothing).rank == 1
    assert compact(nothing).change().abs().max() < 1e-5


def test_cutting_is_as_close_as_any_change_of_that_rank_can_be() -> None:
    change = stacked([adapter(4), adapter(4, seed=1)]).change()
    values = torch.linalg.svdvals(change)
    made = cut_dense(change, Cut(rank=3))
    assert made.adapter.rank == 3
    lost = (made.adapter.change() - change).norm().item()
    assert lost == pytest.approx(values[3:].norm().item(), rel=1e-4)
    assert made.loss.lost == pytest.approx(lost, rel=1e-3)
    assert made.loss.change == pytest.approx(change.norm().item(), rel=1e-5)


def test_energy_keeps_as_few_directions_as_hold_it() -> None:
    change = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
    squares = [9 / 14, 13 / 14]
    assert cut_dense(change, Cut(3, energy=squares[0] - 0.01)).adapter.rank == 1
    assert cut_dense(change, Cut(3, energy=squares[0] + 0.01)).adapter.rank == 2
    assert cut_dense(change, Cut(3, energy=squares[1] + 0.01)).adapter.rank == 3
    assert cut_dense(change, Cut(1, energy=0.99)).adapter.rank == 1


def test_a_change_of_a_small_rank_is_not_given_a_larger_one() -> None:
    assert cut_dense(adapter(2).change(), Cut(6)).adapter.rank == 2


@pytest.mark.parametrize("shape", [(4, 9), (9, 4), (5, 5)])
def test_a_dense_change_becomes_an_adapter_without_any_loss(shape: tuple[int, int]) -> None:
    change = torch.randn(shape, generator=torch.Generator().manual_seed(3))
    whole = undivided(change)
    assert whole.rank == min(shape)
    assert torch.equal(whole.change(), change)


def test_the_row_space_holds_what_an_adapter_answers_to_and_no_more() -> None:
    one = adapter(3)
    basis = row_space(stacked([one, one]))
    assert basis.shape == (9, 3)
    assert relative(basis.T @ basis, torch.eye(3, dtype=torch.float64)) < 1e-6
    assert relative(one.down.double() @ basis @ basis.T, one.down.double()) < 1e-6


def test_rows_that_have_no_effect_are_no_part_of_the_row_space() -> None:
    one = adapter(3)
    silent = ModuleAdapter(one.down, one.up * torch.tensor([1.0, 0.0, 1.0]))
    assert row_space(silent).shape == (9, 2)
