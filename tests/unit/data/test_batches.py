"""A batch's latents, captions, sizes and weights belong to the same pictures, from real files to the last step."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from made_pictures import noise, plain, save
from torch import Tensor

from lorasmith.data.batches import Batch, BatchSource
from lorasmith.data.buckets import targets_of
from lorasmith.data.cache import LatentCache, LatentSource, Rendering
from lorasmith.data.examples import Example, Role
from lorasmith.data.order import BatchOrder, OrderSettings, fixed_draws
from lorasmith.data.pictures import Pictures
from lorasmith.data.read import read_examples
from lorasmith.data.views import Crop, ViewSettings
from lorasmith.errors import DataError
from lorasmith.events import Event, Notice, WorkDone, ignore
from lorasmith.models.family import LatentDistribution

RENDERING = Rendering(interpolation="box", background="white")
SHADES = {"black": 0, "dark": 60, "middle": 120, "light": 180, "white": 240}


@dataclass
class Encoder:
    """Latents that are the pixels' mean, so that they tell which picture they are of."""

    calls: int = 0

    def __call__(self, pixels: Tensor) -> LatentDistribution:
        self.calls += len(pixels)
        mean = pixels.mean((1, 2, 3), keepdim=True).expand(-1, 4, pixels.shape[2] // 8, pixels.shape[3] // 8)
        return LatentDistribution(mean, torch.zeros_like(mean))


def shades(folder: Path, role: Role, names: tuple[str, ...] = tuple(SHADES)) -> tuple[Example, ...]:
    """One picture per shade, lying and upright by turns, whose caption is the shade's name."""
    for at, name in enumerate(names):
        width, height = (48, 32) if at % 2 else (32, 48)
        save(plain((SHADES[name],) * 3, width=width, height=height), folder / f"{name}.png")
        (folder / f"{name}.txt").write_text(f"TOK {name}", encoding="utf-8")
    return read_examples(
        folder, prompt=None, caption_column=None, role=role, pixel_limit=10_000, background="white"
    ).examples


def source(
    tmp_path: Path,
    encoder: Encoder,
    *,
    cache: LatentCache | None = None,
    crop: Crop = "center",
    buckets: bool = False,
    classes: bool = True,
) -> BatchSource:
    settings = OrderSettings(
        batch_size=2, repeats=1, targets=targets_of(32, buckets=buckets), views=ViewSettings(crop, flip=True, seed=0)
    )
    of_class = shades(tmp_path / "class", Role.CLASS, ("black", "white", "middle")) if classes else ()
    order = BatchOrder(shades(tmp_path / "instance", Role.INSTANCE), of_class, settings=settings)
    pictures = Pictures(RENDERING, pixel_limit=10_000)
    latents = LatentSource(pictures.pixels, encoder, RENDERING, "vae", cache)
    return BatchSource(order, latents, prior_weight=0.25)


def shade_shown(batch: Batch) -> list[str]:
    levels = (batch.latents.mean[:, 0, 0, 0] + 1) * 127.5
    return [min(SHADES, key=lambda name: abs(SHADES[name] - float(level))) for level in levels]


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("buckets", [True, False])
@pytest.mark.parametrize("crop", ["center", "random"])
def test_a_caption_always_stays_with_its_picture(tmp_path: Path, cached: bool, buckets: bool, crop: Crop) -> None:
    cache = LatentCache(tmp_path / "cache") if cached else None
    one = source(tmp_path, Encoder(), cache=cache, crop=crop, buckets=buckets)
    for at in range(3 * one.order.micro_steps_per_epoch):
        batch = one.batch_at(at)
        assert [f"TOK {shade}" for shade in shade_shown(batch)] == list(batch.captions)
        assert batch.roles == (Role.INSTANCE, Role.INSTANCE, Role.CLASS, Role.CLASS)
        assert [float(weight) for weight in batch.weights] == [1.0, 1.0, 0.25, 0.25]
        assert batch.weights.dtype == torch.float32


def test_sizes_are_those_of_the_same_pictures(tmp_path: Path) -> None:
    one = source(tmp_path, Encoder())
    for at in range(6):
        batch = one.batch_at(at)
        for draw, size in zip(batch.draws, batch.sizes, strict=True):
            assert size.original == draw.example.size
            assert size.target == (32, 32)
            assert size.crop_top_left == ((8, 0) if draw.example.size.height == 48 else (0, 8))


def test_the_same_micro_step_gives_the_same_batch_in_any_order_and_from_any_cache(tmp_path: Path) -> None:
    first = source(tmp_path, Encoder(), cache=LatentCache(tmp_path / "cache"), crop="random")
    again = source(tmp_path, Encoder(), cache=None, crop="random")
    forwards = [first.batch_at(at) for at in range(8)]
    backwards = [again.batch_at(at) for at in reversed(range(8))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        assert one.draws == other.draws
        assert torch.equal(one.latents.mean, other.latents.mean)


def test_filling_the_cache_leaves_nothing_to_encode_and_says_how_far_it_is(tmp_path: Path) -> None:
    encoder, events = Encoder(), list[Event]()
    one = source(tmp_path, encoder, cache=LatentCache(tmp_path / "cache"), buckets=True)
    held = fixed_draws(shades(tmp_path / "held", Role.INSTANCE, ("dark",)), targets_of(32, buckets=True))
    one.fill_cache(range(40), events.append, besides=held)
    total = encoder.calls
    assert events == [WorkDone("caching latents", done, total) for done in range(1, total + 1)]
    for at in range(40):
        one.batch_at(at)
    one.batch_of(held)
    assert encoder.calls == total
    another = source(tmp_path, encoder, cache=LatentCache(tmp_path / "cache"), buckets=True)
    events.clear()
    another.fill_cache(range(40), events.append)
    assert encoder.calls == total, "another run finds them on disk"
    kept = sum(isinstance(event, WorkDone) for event in events)
    assert events[-1] == Notice(f"encoded pictures: all {kept} were in the cache")


def test_what_is_encoded_again_beside_what_is_kept_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, events = Encoder(), list[Event]()
    source(tmp_path, encoder, cache=LatentCache(tmp_path / "cache"), classes=False).fill_cache(range(10), ignore)
    total = encoder.calls
    monkeypatch.setitem(SHADES, "dark", 61)
    source(tmp_path, encoder, cache=LatentCache(tmp_path / "cache"), classes=False).fill_cache(range(10), events.append)
    again = encoder.calls - total
    assert 1 <= again <= 2, "as it is and mirrored"
    assert isinstance(events[-1], Notice)
    assert events[-1].text.startswith(f"encoded pictures: {total - again} of {total} were in the cache; encoded now: ")
    assert set(events[-1].text.partition("now: ")[2].split(", ")) == {"dark.png"}


def test_a_picture_that_changes_while_the_run_goes_on_is_refused_not_cached(tmp_path: Path) -> None:
    one = source(tmp_path, Encoder(), cache=LatentCache(tmp_path / "cache"), classes=False)
    save(plain((1, 2, 3), width=32, height=48), tmp_path / "instance" / "black.png")
    with pytest.raises(DataError, match=r"black\.png has changed since the run began"):
        one.fill_cache(range(10), ignore)


def test_resized_pictures_are_decoded_once_and_memory_stays_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = shades(tmp_path, Role.INSTANCE)
    draws = fixed_draws(examples, targets_of(32, buckets=False))
    decoded: list[str] = []

    def counting(path: Path, *, background: str, pixel_limit: int) -> object:
        decoded.append(path.name)
        return original(path, background=background, pixel_limit=pixel_limit)

    from lorasmith.data import pictures as module

    original = module.decode
    monkeypatch.setattr(module, "decode", counting)
    roomy = Pictures(RENDERING, pixel_limit=10_000)
    for _ in range(3):
        for draw in draws:
            roomy.pixels(draw)
    assert len(decoded) == len(draws)
    one_picture = 32 * 48 * 3
    tight = Pictures(RENDERING, pixel_limit=10_000, memory=2 * one_picture)
    for draw in (*draws, *draws):
        tight.pixels(draw)
        assert tight.bytes_kept <= 2 * one_picture
    decoded.clear()
    tight.pixels(draws[-1])
    assert decoded == [], "the last one used is still there"
    none = Pictures(RENDERING, pixel_limit=10_000, memory=0)
    assert torch.equal(none.pixels(draws[0]), roomy.pixels(draws[0]))
    assert none.bytes_kept == 0


def test_pixels_are_the_same_from_memory_and_from_the_file(tmp_path: Path) -> None:
    save(noise(40, 60), tmp_path / "a.png")
    (only,) = read_examples(
        tmp_path, prompt="TOK", caption_column=None, role=Role.INSTANCE, pixel_limit=10_000, background="white"
    ).examples
    settings = OrderSettings(2, 1, targets_of(32, buckets=False), ViewSettings("random", flip=True, seed=0))
    order = BatchOrder([only], settings=settings)
    kept = Pictures(RENDERING, pixel_limit=10_000)
    for at in range(10):
        fresh = Pictures(RENDERING, pixel_limit=10_000)
        for draw in order.draws_at(at):
            assert torch.equal(kept.pixels(draw), fresh.pixels(draw))
