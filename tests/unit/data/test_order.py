"""Every picture is seen exactly as often as said, in another order each epoch, and asking twice changes nothing."""

from collections import Counter
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_pictures import example

from lorasmith import rng
from lorasmith.data.buckets import assign, bucket_sizes
from lorasmith.data.examples import Draw, Example, Role
from lorasmith.data.order import BatchOrder, OrderSettings, fixed_draws, held_out
from lorasmith.data.views import ViewSettings
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Corner, Size

SQUARE = (Size(64, 64),)
BUCKETS = bucket_sizes(64, multiple=8)
SHAPES = (Size(64, 64), Size(96, 64), Size(64, 96), Size(50, 120))


def instance(count: int) -> list[Example]:
    return [example(f"{at}.png", size=SHAPES[at % 4], caption=f"TOK {at}") for at in range(count)]


def class_examples(count: int) -> list[Example]:
    return [example(f"{at}.png", size=SHAPES[at % 3], role=Role.CLASS, caption="a dog") for at in range(count)]


def order(
    count: int,
    classes: int = 0,
    *,
    batch_size: int = 2,
    repeats: int = 1,
    targets: tuple[Size, ...] = SQUARE,
    seed: int = 0,
) -> BatchOrder:
    views = ViewSettings("random", flip=True, seed=seed)
    told = OrderSettings(batch_size=batch_size, repeats=repeats, targets=targets, views=views)
    return BatchOrder(instance(count), class_examples(classes), settings=told)


def epoch_of(one: BatchOrder, epoch: int) -> list[tuple[Draw, ...]]:
    steps = one.micro_steps_per_epoch
    return [one.draws_at(at) for at in range(epoch * steps, (epoch + 1) * steps)]


def of(role: Role, draws: tuple[Draw, ...]) -> list[Draw]:
    return [draw for draw in draws if draw.example.role is role]


orders = st.builds(
    order,
    st.integers(1, 13),
    st.integers(0, 5),
    batch_size=st.integers(1, 5),
    repeats=st.integers(1, 3),
    targets=st.sampled_from([SQUARE, BUCKETS]),
    seed=st.integers(0, 99),
)


@given(orders, st.integers(0, 3))
@settings(max_examples=60, deadline=None)
def test_an_epoch_shows_each_picture_exactly_repeats_times_besides_the_filling(one: BatchOrder, epoch: int) -> None:
    repeats = one.settings.repeats
    draws = [draw for batch in epoch_of(one, epoch) for draw in of(Role.INSTANCE, batch)]
    assert {draw.epoch for draw in draws} == {epoch}
    own = Counter(draw.example.id for draw in draws if draw.copy < repeats)
    assert set(own.values()) == {repeats}
    assert len(own) == sum(one.bucket_counts.values())
    assert len({(draw.example.id, draw.copy) for draw in draws}) == len(draws), "fillings are copies of their own"
    filled = sum(draw.copy >= repeats for draw in draws)
    assert filled < one.settings.batch_size * len(one.bucket_counts)


@given(orders, st.integers(0, 40))
@settings(max_examples=60, deadline=None)
def test_each_batch_has_one_size_and_as_many_class_images_as_instance_images(one: BatchOrder, at: int) -> None:
    draws = one.draws_at(at)
    size = one.settings.batch_size
    roles = [draw.example.role for draw in draws]
    assert roles in ([Role.INSTANCE] * size, [Role.INSTANCE] * size + [Role.CLASS] * size)
    assert len({draw.view.target for draw in draws}) == 1
    for draw in of(Role.INSTANCE, draws):
        assert draw.view.target == assign(draw.example.size, one.settings.targets)
        assert draw.example.caption == f"TOK {draw.example.id.removesuffix('.png')}", "a caption stays with its picture"


@given(orders, st.lists(st.integers(0, 40), min_size=2, max_size=6))
@settings(max_examples=40, deadline=None)
def test_what_a_micro_step_sees_depends_on_nothing_asked_before(one: BatchOrder, asked: list[int]) -> None:
    forwards = {at: one.draws_at(at) for at in asked}
    backwards = {at: one.draws_at(at) for at in reversed(asked)}
    assert forwards == backwards


@given(orders)
@settings(max_examples=40, deadline=None)
def test_an_epoch_has_as_many_micro_steps_as_its_buckets_need(one: BatchOrder) -> None:
    size, repeats = one.settings.batch_size, one.settings.repeats
    assert one.micro_steps_per_epoch == sum(-(-count * repeats // size) for count in one.bucket_counts.values())


def test_orders_differ_between_epochs_and_seeds() -> None:
    def ids(seed: int, epoch: int) -> list[str]:
        return [draw.example.id for batch in epoch_of(order(12, seed=seed), epoch) for draw in batch]

    seen = [ids(seed, epoch) for seed in (0, 1) for epoch in (0, 1, 2)]
    assert len({tuple(one) for one in seen}) == 6
    assert all(sorted(one) == sorted(seen[0]) for one in seen)


def test_batches_are_made_up_anew_each_epoch() -> None:
    one = order(12, batch_size=4)

    def together(epoch: int) -> set[frozenset[str]]:
        return {frozenset(draw.example.id for draw in batch) for batch in epoch_of(one, epoch)}

    assert together(0) != together(1)
    whole = order(12, batch_size=12)
    assert [draw.example.id for draw in whole.draws_at(0)] != [draw.example.id for draw in whole.draws_at(1)]


def test_batches_of_different_buckets_take_turns() -> None:
    one = order(16, batch_size=1, targets=BUCKETS)
    targets = [batch[0].view.target for batch in epoch_of(one, 0)]
    changes = sum(before != after for before, after in pairwise(targets))
    assert changes > len(one.bucket_counts), "the buckets are not worked through one after the other"


def test_copies_of_a_picture_have_views_of_their_own() -> None:
    draws = [draw for batch in epoch_of(order(2, repeats=8), 0) for draw in batch if draw.example.id == "1.png"]
    assert len({draw.view.crop_top_left for draw in draws}) > 1


def test_a_single_picture_fills_a_batch_with_copies_that_are_cut_differently() -> None:
    views = ViewSettings("random", flip=False, seed=0)
    told = OrderSettings(batch_size=8, repeats=1, targets=SQUARE, views=views)
    draws = BatchOrder([example(size=Size(64, 128))], settings=told).draws_at(0)
    assert [draw.copy for draw in draws] == list(range(8))
    assert len({draw.view.crop_top_left for draw in draws}) > 3


@given(st.integers(1, 7), st.integers(1, 4), st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_class_images_come_round_evenly_whatever_an_epoch_is(classes: int, batch_size: int, count: int) -> None:
    one = order(count, classes, batch_size=batch_size)
    drawn = [draw for at in range(classes * 3) for draw in of(Role.CLASS, one.draws_at(at))]
    laps = [drawn[at : at + classes] for at in range(0, len(drawn), classes)]
    assert all(len({draw.example.id for draw in lap}) == classes for lap in laps)
    assert [draw.epoch for draw in drawn] == [at // classes for at in range(len(drawn))]


def test_class_images_change_neither_the_epoch_nor_what_is_seen_of_the_instance_images() -> None:
    with_classes, without = order(7, 100), order(7)
    assert with_classes.micro_steps_per_epoch == without.micro_steps_per_epoch
    for at in range(20):
        assert tuple(of(Role.INSTANCE, with_classes.draws_at(at))) == without.draws_at(at)


def test_class_images_of_later_laps_come_in_another_order() -> None:
    one = order(4, 10, batch_size=10)
    laps = {tuple(draw.example.id for draw in of(Role.CLASS, one.draws_at(at))) for at in range(4)}
    assert len(laps) == 4


def test_no_pictures_are_refused() -> None:
    with pytest.raises(DataError, match="no instance images"):
        order(0)


def test_held_out_pictures_are_drawn_by_the_seed_and_trained_on_no_more() -> None:
    everything = instance(10)
    training, out = held_out(everything, 3, seed=0)
    assert (len(training), len(out)) == (7, 3)
    assert sorted((*training, *out), key=everything.index) == everything
    assert list(training) == sorted(training, key=everything.index)
    assert held_out(everything, 3, seed=0) == (training, out)
    assert len({held_out(everything, 3, seed=seed)[1] for seed in range(10)}) > 3
    assert held_out(everything, 0, seed=0) == (tuple(everything), ())


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"holding out 4 of 4 pictures .*validation\.held_out"):
        held_out(instance(4), 4, seed=0)


def test_fixed_draws_show_the_middle_of_each_picture_unmirrored() -> None:
    draws = fixed_draws([example(size=Size(64, 96)), example(size=Size(64, 64))], SQUARE)
    assert [draw.view.crop_top_left for draw in draws] == [Corner(0, 16), Corner(0, 0)]
    assert not any(draw.view.flip for draw in draws)


def test_an_epoch_is_shuffled_once_however_many_steps_it_has(monkeypatch: pytest.MonkeyPatch) -> None:
    shuffled = Counter[tuple[object, ...]]()
    seeded = rng.python_random

    def counting(*names: object) -> Random:
        shuffled[names[1:4]] += 1
        return seeded(*names)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(rng, "python_random", counting)
    one = order(40, 6, batch_size=2, targets=BUCKETS)
    for epoch in (0, 1):
        epoch_of(one, epoch)
    orders = {names: times for names, times in shuffled.items() if names[0] == "order"}
    assert orders["order", "batches", 0] == orders["order", "batches", 1] == 1
    assert sum(orders.values()) < one.micro_steps_per_epoch * 2, "and not anew for each of them"
