# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch is only partly typed.
"""Every method that looks at one layer at a time gives what dense matrices, or peft's own functions, give."""

from collections.abc import Mapping

import pytest
import torch
from peft.utils import merge_utils
from torch import Tensor

from lorasmith.errors import DataError
from lorasmith.formats.weights import ModuleAdapter
from lorasmith.merging.layerwise import LayerwiseMethod, LayerwiseSettings, merge_layers
from lorasmith.merging.parents import Layers, Parent, refuse_misfits

SHARED, FIRST_ONLY, SECOND_ONLY = "blocks.0.to_q", "blocks.0.to_k", "blocks.1.to_v"
METHODS: tuple[LayerwiseMethod, ...] = ("sum", "concat", "svd", "ties", "dare", "null-space")


def adapter(rank: int, seed: int, *, out: int = 10, width: int = 8) -> ModuleAdapter:
    """A random one."""
    generator = torch.Generator().manual_seed(seed)
    return ModuleAdapter(torch.randn(rank, width, generator=generator), torch.randn(out, rank, generator=generator))


def parents(first: float = 1.0, second: float = 1.0) -> list[Parent]:
    """Two of unequal rank that share one layer, each with one of its own."""
    subject: Layers = {"denoiser": {SHARED: adapter(2, 0), FIRST_ONLY: adapter(2, 1)}}
    style: Layers = {"denoiser": {SHARED: adapter(3, 2), SECOND_ONLY: adapter(3, 3)}}
    return [Parent("subject", subject, first), Parent("style", style, second)]


def changes(layers: Layers) -> Mapping[str, Tensor]:
    """Dense changes of the denoiser by path."""
    return {path: module.change() for path, module in layers["denoiser"].items()}


def assert_near(found: Tensor, wanted: Tensor, share: float = 1e-5) -> None:
    """Near as a share of the norm."""
    assert (found - wanted).norm() <= share * wanted.norm()


@pytest.mark.parametrize("method", ["sum", "concat"])
def test_sum_and_concatenation_are_exact_and_no_layer_is_left_out(method: LayerwiseMethod) -> None:
    subject, style = parents(0.8, -1.5)
    merged = merge_layers([subject, style], method, LayerwiseSettings())
    found, one, other = changes(merged.layers), changes(subject.layers), changes(style.layers)
    assert set(found) == {SHARED, FIRST_ONLY, SECOND_ONLY}
    assert_near(found[SHARED], 0.8 * one[SHARED] - 1.5 * other[SHARED])
    assert_near(found[FIRST_ONLY], 0.8 * one[FIRST_ONLY])
    assert_near(found[SECOND_ONLY], -1.5 * other[SECOND_ONLY])
    assert merged.losses == {}
    assert merged.layers["denoiser"][SHARED].rank == 5


def test_an_adapter_summed_with_itself_keeps_its_rank_and_concatenated_has_twice_it() -> None:
    subject = parents()[0]
    ranks = {
        method: merge_layers([subject, subject], method, LayerwiseSettings()).layers["denoiser"][SHARED].rank
        for method in ("sum", "concat")
    }
    assert ranks == {"sum": 2, "concat": 4}


def test_svd_keeps_the_larger_rank_and_says_what_that_lost() -> None:
    merged = merge_layers(parents(), "svd", LayerwiseSettings())
    wanted = sum(changes(parent.layers)[SHARED] for parent in parents())
    assert isinstance(wanted, Tensor)
    values = torch.linalg.svdvals(wanted)
    assert merged.layers["denoiser"][SHARED].rank == 3
    assert merged.losses[f"denoiser.{SHARED}"].lost == pytest.approx(values[3:].norm().item(), rel=1e-4)
    assert_near(changes(merged.layers)[FIRST_ONLY], changes(parents()[0].layers)[FIRST_ONLY])


def test_svd_takes_a_rank_or_an_energy() -> None:
    by_rank = merge_layers(parents(), "svd", LayerwiseSettings(rank=1)).layers["denoiser"]
    assert {module.rank for module in by_rank.values()} == {1}
    by_energy = merge_layers(parents(), "svd", LayerwiseSettings(energy=0.95))
    for name, loss in by_energy.losses.items():
        assert loss.share**2 <= 0.05, name


def test_ties_is_pefts_on_dense_changes() -> None:
    first, second = parents(0.7, 1.2)
    merged = merge_layers([first, second], "ties", LayerwiseSettings(rank=8, density=0.4))
    pair = [changes(first.layers)[SHARED], changes(second.layers)[SHARED]]
    wanted = merge_utils.ties(pair, torch.tensor([0.7, 1.2]), 0.4)
    assert_near(changes(merged.layers)[SHARED], wanted)
    assert not torch.allclose(wanted, 0.7 * pair[0] + 1.2 * pair[1])


def test_dare_is_pefts_on_dense_changes_and_its_chance_is_counted() -> None:
    settings = LayerwiseSettings(rank=8, density=0.5, seed=3)
    first, again = (merge_layers(parents(0.7, 1.2), "dare", settings) for _ in range(2))
    other = merge_layers(parents(0.7, 1.2), "dare", LayerwiseSettings(rank=8, density=0.5, seed=4))
    assert torch.equal(changes(first.layers)[SHARED], changes(again.layers)[SHARED])
    assert not torch.allclose(changes(first.layers)[SHARED], changes(other.layers)[SHARED])
    # Each number is 0, or one parent's at twice its weight, or both: what dropping half and doubling the rest gives.
    one, two = (
        2 * weight * changes(parent.layers)[SHARED] for parent, weight in zip(parents(), (0.7, 1.2), strict=True)
    )
    found = changes(first.layers)[SHARED]
    candidates = torch.stack([torch.zeros_like(one), one, two, one + two])
    assert (candidates - found).abs().min(0).values.max() < 1e-4
    assert 0.1 < (found.abs() < 1e-5).float().mean() < 0.45


def test_dare_leaves_the_global_random_numbers_alone() -> None:
    torch.manual_seed(7)
    wanted = torch.rand(3)
    torch.manual_seed(7)
    merge_layers(parents(), "dare", LayerwiseSettings())
    assert torch.equal(torch.rand(3), wanted)


@pytest.mark.parametrize("method", ["ties", "dare"])
def test_at_full_density_one_adapter_alone_comes_back_as_it_was(method: LayerwiseMethod) -> None:
    subject = parents(0.6)[0]
    merged = merge_layers([subject], method, LayerwiseSettings(density=1.0))
    assert_near(changes(merged.layers)[SHARED], 0.6 * changes(subject.layers)[SHARED], 1e-4)


def test_null_space_adds_nothing_to_what_the_protected_adapter_answers_to() -> None:
    subject, style = parents(0.9, 1.1)
    merged = changes(merge_layers([subject, style], "null-space", LayerwiseSettings(strength=None)).layers)
    inputs = style.layers["denoiser"][SHARED].down.T @ torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    protected = 1.1 * changes(style.layers)[SHARED]
    assert_near(merged[SHARED] @ inputs, protected @ inputs)
    plain = changes(merge_layers([subject, style], "sum", LayerwiseSettings()).layers)
    assert (plain[SHARED] @ inputs - protected @ inputs).norm() > 0.1 * (protected @ inputs).norm()
    # What the protected adapter does not answer to is the other's alone, as it was.
    across = torch.linalg.svd(style.layers["denoiser"][SHARED].down)[2][3:].T
    assert_near(merged[SHARED] @ across, 0.9 * changes(subject.layers)[SHARED] @ across, 1e-4)


def test_null_space_is_the_published_formula_at_any_strength() -> None:
    subject, style = parents()
    strength = 0.5
    merged = changes(merge_layers([subject, style], "null-space", LayerwiseSettings(strength=strength)).layers)
    basis = torch.linalg.qr(style.layers["denoiser"][SHARED].down.T)[0]
    bent = torch.eye(8) - strength / (1 + strength) * basis @ basis.T
    assert_near(merged[SHARED], changes(style.layers)[SHARED] + changes(subject.layers)[SHARED] @ bent)
    none = changes(merge_layers([subject, style], "null-space", LayerwiseSettings(strength=0.0)).layers)
    assert_near(none[SHARED], changes(style.layers)[SHARED] + changes(subject.layers)[SHARED])


def test_null_space_protects_whom_it_is_told_to() -> None:
    subject, style = parents()
    settings = LayerwiseSettings(strength=None, protected=0)
    merged = changes(merge_layers([subject, style], "null-space", settings).layers)
    inputs = subject.layers["denoiser"][SHARED].down.T
    assert_near(merged[SHARED] @ inputs, changes(subject.layers)[SHARED] @ inputs)


@pytest.mark.parametrize("method", METHODS)
def test_merging_with_a_silent_adapter_gives_the_other(method: LayerwiseMethod) -> None:
    subject = parents()[0]
    nothing = Parent("nothing", {"denoiser": {SHARED: adapter(2, 9).scaled(0.0)}})
    settings = LayerwiseSettings(density=1.0, strength=None, protected=0)
    found = changes(merge_layers([subject, nothing], method, settings).layers)
    assert_near(found[SHARED], changes(subject.layers)[SHARED], 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_a_dora_is_refused_where_it_was_not_baked(method: LayerwiseMethod) -> None:
    module = adapter(2, 0)
    dora = Parent("dora", {"denoiser": {SHARED: ModuleAdapter(module.down, module.up, torch.ones(10))}})
    with pytest.raises(DataError, match="was not baked"):
        merge_layers([dora, parents()[1]], method, LayerwiseSettings())


def test_adapters_of_other_sizes_are_refused_by_name() -> None:
    other = Parent("flux", {"denoiser": {SHARED: adapter(2, 0, out=16)}})
    with pytest.raises(DataError, match=rf"subject and flux are not of one family.*{SHARED} is 10×8 in one and 16×8"):
        refuse_misfits([parents()[0], other])


def test_numbers_that_are_not_finite_are_refused() -> None:
    broken = adapter(2, 0)
    broken.up[0, 0] = float("nan")
    with pytest.raises(DataError, match="broken holds numbers that are not finite"):
        refuse_misfits([Parent("broken", {"denoiser": {SHARED: broken}})])
