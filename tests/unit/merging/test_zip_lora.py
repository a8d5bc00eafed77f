# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch is only partly typed.
"""ZipLoRA's properties: what its mergers are at their ends, what moves them, where they go, and what is exported."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Event, Notice
from lorasmith.formats.weights import ModuleAdapter
from lorasmith.merging.zip_fit import ParentMaterial, ZipSettings, ZipTraining
from lorasmith.merging.zip_layers import Voice, ZippedDenoiser
from lorasmith.models.family import Conditioning, DiffusionFamily, PromptEmbeddings
from lorasmith.objectives.objective import Objective
from lorasmith.sizes import Corner, Size, SizeConditioning

WIDTH = 16
SIZE = SizeConditioning(Size(8, 8), Corner(0, 0), Size(8, 8))
PROMPT = PromptEmbeddings(torch.zeros(1, 2, 3), torch.zeros(1, 3))
Layers = Mapping[str, ModuleAdapter]


class TwoLayers(nn.Module):
    """A denoiser of two linear layers on flattened latents [B, 4, 2, 2]."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(WIDTH, WIDTH).requires_grad_(requires_grad=False)
        self.second = nn.Linear(WIDTH, WIDTH).requires_grad_(requires_grad=False)

    def forward(self, latents: Tensor) -> Tensor:
        """The second layer reads the input too, so that what is asked of a column is the same in both."""
        flat = latents.flatten(1)
        return (self.first(flat) + self.second(flat)).view_as(latents)


@dataclass
class LinearFamily:
    """As much of a family as mergers need; prompts say nothing."""

    denoiser: TwoLayers

    device = torch.device("cpu")

    def predict(self, noisy_latents: Tensor, times: Tensor, conditioning: Conditioning) -> Tensor:
        """The two layers' output."""
        del times, conditioning
        return self.denoiser(noisy_latents)

    def time_ids(self, sizes: Sequence[SizeConditioning]) -> Tensor:
        """Nothing."""
        return torch.zeros(len(sizes), 6)


@dataclass(frozen=True, kw_only=True)
class HardlyNoisy(Objective):
    """Latents under a hundredth of noise, so that what a picture shows decides which columns are heard."""

    spread: float = 0.01

    @property
    def timesteps(self) -> int:
        """Ten."""
        return 10

    def corrupt(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """A little noise on what is there."""
        return latents * (1 + self.spread * noise)

    def times(self, timesteps: Tensor) -> Tensor:
        """As they are."""
        return timesteps

    def target(self, latents: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Mergers never ask."""
        raise NotImplementedError

    def weights(self, timesteps: Tensor) -> Tensor:
        """Mergers never ask."""
        raise NotImplementedError


def layers(
    seed: int, rank: int = 3, *, columns: slice = slice(None), paths: Sequence[str] = ("first", "second")
) -> Layers:
    """Random adapters that answer to some columns alone."""
    generator = torch.Generator().manual_seed(seed)
    made: dict[str, ModuleAdapter] = {}
    for path in paths:
        down = torch.zeros(rank, WIDTH)
        down[:, columns] = torch.randn(down[:, columns].shape, generator=generator)
        made[path] = ModuleAdapter(down, torch.randn(WIDTH, rank, generator=generator) / WIDTH)
    return made


def pictures(seed: int, *, weak: slice | None = None, strength: float = 0.0) -> Tensor:
    """Eight latents [8, 4, 2, 2] whose numbers in `weak` columns are small."""
    flat = torch.randn(8, WIDTH, generator=torch.Generator().manual_seed(seed))
    if weak is not None:
        flat[:, weak] *= strength
    return flat.view(8, 4, 2, 2)


def material(name: str, latents: Tensor) -> ParentMaterial:
    """Pictures with prompts that say nothing."""
    count = len(latents)
    return ParentMaterial(name, latents, [SIZE] * count, [PROMPT] * count, [PROMPT] * count)


def training(
    adapters: Sequence[Layers], latents: Sequence[Tensor], settings: ZipSettings = ZipSettings()
) -> ZipTraining:
    """Mergers on a base of their own."""
    family = LinearFamily(TwoLayers())
    zipped = ZippedDenoiser(family.denoiser, adapters)
    shown = [material(f"parent {place}", one) for place, one in enumerate(latents)]
    return ZipTraining(cast(DiffusionFamily, family), HardlyNoisy(), zipped, shown, settings)


def answer(zipped: ZippedDenoiser, denoiser: nn.Module, voice: Voice, inputs: Tensor) -> Tensor:
    """What a voice says."""
    with zipped.speaking(voice), torch.no_grad():
        return denoiser(inputs)


LEFT, RIGHT = slice(0, WIDTH // 2), slice(WIDTH // 2, WIDTH)


@pytest.mark.parametrize(("mergers", "voices"), [((1.0, 0.0), (0,)), ((0.0, 1.0), (1,)), ((1.0, 1.0), (0, 1))])
def test_mergers_of_ones_and_zeros_are_one_adapter_the_other_or_their_sum(
    mergers: tuple[float, float], voices: tuple[int, ...]
) -> None:
    denoiser, inputs = TwoLayers(), pictures(5)
    plain = denoiser(inputs)
    zipped = ZippedDenoiser(denoiser, [layers(1), layers(2, rank=5)])
    for vectors in zipped.mergers:
        vectors.data = torch.tensor(mergers)[:, None].expand(2, WIDTH).clone()
    changes = [answer(zipped, denoiser, voice, inputs) - plain for voice in voices]
    merged = answer(zipped, denoiser, "merged", inputs)
    torch.testing.assert_close(merged, plain + torch.stack(changes).sum(0), rtol=1e-5, atol=1e-6)
    assert torch.equal(answer(zipped, denoiser, "base", inputs), plain)


def test_there_is_one_merger_for_each_column_and_adapter() -> None:
    zipped = ZippedDenoiser(TwoLayers(), [layers(1), layers(2, paths=["first"])])
    assert {path: tuple(layer.mergers.shape) for path, layer in zipped.layers.items()} == {
        "first": (2, WIDTH),
        "second": (1, WIDTH),
    }


def test_only_mergers_have_gradients_and_they_are_finite() -> None:
    made = training([layers(1), layers(2)], [pictures(3), pictures(4)])
    first = made.zipped.layers["first"]
    with made.zipped.speaking("merged"):
        loss = functional.mse_loss(cast(LinearFamily, made.family).denoiser(pictures(3)), pictures(4))
    (loss + made.zipped.similarity()).backward()
    gradient = first.mergers.grad
    assert gradient is not None
    assert torch.isfinite(gradient).all()
    assert gradient.abs().min() > 0  # cosine similarity, which the paper's first version named, would have none here
    assert first.linear.weight.grad is None
    assert not any(tensor.requires_grad for tensor in (*first.downs, *first.ups))


def test_adapters_on_disjoint_columns_lose_nothing_and_leave_each_others_columns() -> None:
    shown = [pictures(3, weak=RIGHT), pictures(4, weak=LEFT)]
    settings = ZipSettings(steps=150, learning_rate=0.02, similarity_weight=0.05)
    made = training([layers(1, columns=LEFT), layers(2, columns=RIGHT)], shown, settings)
    history = made.fit()
    assert max(history[0].content) < 1e-12  # each is silent on the other's pictures from the start
    for layer in made.zipped.layers.values():
        mergers = layer.mergers.detach()
        assert mergers[0, LEFT].mean() > 0.8
        assert mergers[1, RIGHT].mean() > 0.8
        assert mergers[0, RIGHT].abs().max() < 0.1
        assert mergers[1, LEFT].abs().max() < 0.1
    assert max(history[-1].content) < 1e-3


def test_the_similarity_term_alone_falls_to_nothing() -> None:
    zipped = ZippedDenoiser(TwoLayers(), [layers(1), layers(2)])
    optimizer = torch.optim.SGD(zipped.mergers, lr=WIDTH / 20)
    found = list[float]()
    for _ in range(100):
        optimizer.zero_grad()
        similarity = zipped.similarity()
        similarity.backward()
        optimizer.step()
        found.append(similarity.item())
    assert found[0] == pytest.approx(2.0)
    assert all(later <= earlier + 1e-6 for earlier, later in pairwise(found))
    assert found[-1] < 0.01


def test_a_merge_is_closer_to_both_parents_than_their_sum_on_noise_it_never_saw() -> None:
    shown = [pictures(3, weak=RIGHT, strength=0.3), pictures(4, weak=LEFT, strength=0.3)]
    made = training([layers(1), layers(2)], shown, ZipSettings(similarity_weight=0.0001))
    sums = made.distances("merged")  # mergers of ones
    made.fit()
    merged = made.distances("merged")
    assert all(after < 0.8 * before for after, before in zip(merged, sums, strict=True)), (merged, sums)
    assert made.distances(0)[0] == 0.0
    assert made.distances("base") == (1.0, 1.0)


def test_the_references_learning_rate_is_plain_addition() -> None:
    shown = [pictures(3, weak=RIGHT, strength=0.3), pictures(4, weak=LEFT, strength=0.3)]
    made = training([layers(1), layers(2)], shown, ZipSettings(learning_rate=5e-5))
    made.fit()
    assert all((mergers - 1).abs().max() < 0.0051 for mergers in made.zipped.mergers)


def test_the_export_is_an_ordinary_adapter_of_both_ranks_that_says_the_same() -> None:
    denoiser, inputs = TwoLayers(), pictures(5)
    zipped = ZippedDenoiser(denoiser, [layers(1), layers(2, rank=5)])
    for vectors in zipped.mergers:
        vectors.data = torch.rand(vectors.shape)
    merged = answer(zipped, denoiser, "merged", inputs)
    exported = zipped.merged()
    zipped.detach()
    assert {path: one.rank for path, one in exported.items()} == {"first": 8, "second": 8}
    again = ZippedDenoiser(denoiser, [exported])
    torch.testing.assert_close(answer(again, denoiser, 0, inputs), merged, rtol=1e-5, atol=2e-6)


def test_the_order_of_adapters_changes_nothing() -> None:
    shown, adapters = [pictures(3), pictures(4)], [layers(1), layers(2)]
    forth, back = training(adapters, shown), training(adapters[::-1], shown[::-1])
    forth.fit()
    back.fit()
    for one, other in zip(forth.zipped.mergers, back.zipped.mergers, strict=True):
        torch.testing.assert_close(one, other.flip(0), rtol=1e-4, atol=1e-4)


def test_without_similarity_adapters_that_do_not_meet_keep_their_mergers() -> None:
    shown = [pictures(3, weak=RIGHT), pictures(4, weak=LEFT)]
    adapters = [layers(1, columns=LEFT), layers(2, columns=RIGHT)]
    made = training(adapters, shown, ZipSettings(similarity_weight=0.0))
    made.fit()
    assert all((mergers - 1).abs().max() < 1e-3 for mergers in made.zipped.mergers)


def test_a_layer_that_one_adapter_lacks_counts_as_unchanged_by_it() -> None:
    denoiser, inputs = TwoLayers(), pictures(5)
    plain = denoiser(inputs)
    zipped = ZippedDenoiser(denoiser, [layers(1, paths=["first"]), layers(2, paths=["second"])])
    first, second, both = (answer(zipped, denoiser, voice, inputs) for voice in (0, 1, "merged"))
    torch.testing.assert_close(both, first + second - plain, rtol=1e-5, atol=1e-6)
    assert zipped.similarity() == 0


def test_the_same_seed_gives_the_same_mergers_to_the_bit_and_another_others() -> None:
    def trained(seed: int) -> list[Tensor]:
        made = training([layers(1), layers(2)], [pictures(3), pictures(4)], ZipSettings(steps=5, seed=seed))
        made.fit()
        return [mergers.detach() for mergers in made.zipped.mergers]

    first, again, other = trained(1), trained(1), trained(2)
    assert all(torch.equal(one, two) for one, two in zip(first, again, strict=True))
    assert not all(torch.equal(one, two) for one, two in zip(first, other, strict=True))


def test_three_adapters_are_kept_apart_pair_by_pair() -> None:
    zipped = ZippedDenoiser(TwoLayers(), [layers(1), layers(2), layers(3)])
    assert zipped.similarity().item() == pytest.approx(2 * 3.0)


def test_the_terms_of_the_loss_are_told_and_kept() -> None:
    told = list[Event]()
    made = training([layers(1), layers(2)], [pictures(3), pictures(4)], ZipSettings(steps=10, similarity_weight=0.01))
    history = made.fit(emit=told.append)
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert len(notices) == 2
    assert "(parent 0) +" in notices[0]
    assert "similarity 2 × 0.01" in notices[0]
    assert [terms.step for terms in history] == list(range(1, 11))
    assert history[0].total == pytest.approx(sum(history[0].content) + 0.02)


def test_a_stop_is_obeyed_between_steps() -> None:
    calls = iter([False, False, True])
    made = training([layers(1), layers(2)], [pictures(3), pictures(4)])
    with pytest.raises(StoppedError, match="step 2 of 100"):
        made.fit(should_stop=lambda: next(calls))


def test_detaching_leaves_the_denoiser_as_it_was() -> None:
    denoiser = TwoLayers()
    before = dict(denoiser.named_modules())
    zipped = ZippedDenoiser(denoiser, [layers(1)])
    assert denoiser.first is not before["first"]
    zipped.detach()
    assert dict(denoiser.named_modules()) == before


def test_adapters_of_a_base_of_another_layout_are_refused() -> None:
    with pytest.raises(DataError, match="no linear layer third"):
        ZippedDenoiser(TwoLayers(), [layers(1, paths=["third"])])
    wide = {"first": ModuleAdapter(torch.zeros(2, WIDTH + 1), torch.zeros(WIDTH, 2))}
    with pytest.raises(DataError, match="its first is 16×16 and the adapter's 16×17"):
        ZippedDenoiser(TwoLayers(), [wide])
