"""Encoded pictures are found again by what they are, and damage on disk is found and mended."""

import errno
import logging
import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_pictures import example
from torch import Tensor

from lorasmith.data.cache import LatentCache, LatentSource, Rendering, default_cache_folder, key_of
from lorasmith.data.examples import Draw
from lorasmith.data.views import ViewSettings, view_of
from lorasmith.errors import DivergedError
from lorasmith.models.family import LatentDistribution
from lorasmith.sizes import Size

RENDERING = Rendering(interpolation="lanczos", background="white")
KEY = "ab" + "0" * 62


def draw(name: str = "a.png", *, epoch: int = 0, flip: bool = False, target: Size = Size(16, 16)) -> Draw:
    one = example(name)
    view = view_of(one, target, settings=ViewSettings("center", flip=False, seed=0), epoch=epoch, copy=0)
    return Draw(one, epoch, 0, replace(view, flip=flip))


def latents(value: float = 1.0) -> LatentDistribution:
    return LatentDistribution(torch.full((1, 4, 2, 2), value), torch.full((1, 4, 2, 2), value / 2))


def same(one: LatentDistribution | None, other: LatentDistribution) -> bool:
    return one is not None and torch.equal(one.mean, other.mean) and torch.equal(one.std, other.std)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


# ---- keys


def test_a_key_depends_on_everything_that_decides_the_latents() -> None:
    base = draw()
    other_bytes = replace(base, example=replace(base.example, content="other bytes"))
    keys = [
        key_of(base, rendering=RENDERING, encoder_fingerprint="vae"),
        key_of(base, rendering=RENDERING, encoder_fingerprint="other vae"),
        key_of(base, rendering=replace(RENDERING, background="black"), encoder_fingerprint="vae"),
        key_of(base, rendering=replace(RENDERING, interpolation="box"), encoder_fingerprint="vae"),
        key_of(other_bytes, rendering=RENDERING, encoder_fingerprint="vae"),
        key_of(draw(flip=True), rendering=RENDERING, encoder_fingerprint="vae"),
        key_of(draw(target=Size(16, 24)), rendering=RENDERING, encoder_fingerprint="vae"),
        key_of(draw(target=Size(32, 32)), rendering=RENDERING, encoder_fingerprint="vae"),
    ]
    assert len(set(keys)) == len(keys)


def test_a_key_depends_on_neither_place_nor_name_nor_caption_nor_epoch() -> None:
    base = draw()
    moved = replace(base.example, id="b.png", path=Path("elsewhere/b.png"), caption="another")
    same_pixels = replace(base, example=moved, epoch=7, copy=3)
    assert key_of(base, rendering=RENDERING, encoder_fingerprint="vae") == key_of(
        same_pixels, rendering=RENDERING, encoder_fingerprint="vae"
    )


# ---- the store


def test_without_a_folder_latents_stay_in_memory() -> None:
    cache = LatentCache(None)
    assert cache.get(KEY) is None
    cache.put(KEY, latents())
    assert same(cache.get(KEY), latents())


def test_another_run_finds_what_was_written(tmp_path: Path) -> None:
    LatentCache(tmp_path / "cache").put(KEY, latents(3.0))
    assert same(LatentCache(tmp_path / "cache").get(KEY), latents(3.0))
    (file,) = files(tmp_path)
    assert file.relative_to(tmp_path).as_posix() == f"cache/ab/{'0' * 62}.safetensors"


def test_latents_are_kept_as_fp32_values_of_their_own(tmp_path: Path) -> None:
    mean = torch.ones(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    LatentCache(tmp_path).put(KEY, LatentDistribution(mean, mean))
    read = LatentCache(tmp_path).get(KEY)
    assert read is not None
    assert (read.mean.dtype, read.mean.requires_grad) == (torch.float32, False)


def test_a_flipped_bit_in_any_byte_is_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    LatentCache(tmp_path).put(KEY, latents())
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        read = LatentCache(tmp_path).get(KEY)
        assert read is None or same(read, latents()), f"byte {at}"
        if read is None:
            assert not file.exists(), "the damaged file is taken away"
    assert "is damaged and is encoded again" in caplog.text


@pytest.mark.parametrize("kept", [0, 7, 100, -1])
def test_a_truncated_file_is_found_and_taken_away(tmp_path: Path, kept: int, caplog: pytest.LogCaptureFixture) -> None:
    LatentCache(tmp_path).put(KEY, latents())
    (file,) = files(tmp_path)
    file.write_bytes(file.read_bytes()[:kept])
    assert LatentCache(tmp_path).get(KEY) is None
    assert not file.exists()
    assert "is damaged" in caplog.text


def test_a_write_that_was_interrupted_leaves_nothing_that_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", stop)
        with pytest.raises(KeyboardInterrupt):
            LatentCache(tmp_path).put(KEY, latents())
    assert LatentCache(tmp_path).get(KEY) is None
    assert files(tmp_path) == []


def test_a_full_disk_is_said_once_and_the_run_goes_on_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    cache = LatentCache(tmp_path)
    keys = [f"{at:02d}" + "0" * 62 for at in range(5)]
    for at, key in enumerate(keys):
        cache.put(key, latents(float(at)))
    assert all(same(cache.get(key), latents(float(at))) for at, key in enumerate(keys))
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert "the disk is full" in warnings[0].getMessage()
    assert files(tmp_path) == [], "no half files are left"


def test_a_folder_that_cannot_be_made_costs_a_warning_not_the_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    cache = LatentCache(tmp_path / "file" / "cache")
    cache.put(KEY, latents())
    assert same(cache.get(KEY), latents())
    assert "kept in memory only" in caplog.text


def test_several_writers_of_the_same_key_do_no_harm(tmp_path: Path) -> None:
    def write() -> None:
        for _ in range(20):
            LatentCache(tmp_path).put(KEY, latents())

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        read = LatentCache(tmp_path).get(KEY)
        assert read is None or same(read, latents())
    for thread in threads:
        thread.join()
    assert len(files(tmp_path)) == 1


def test_nobody_else_may_look_into_the_folder(tmp_path: Path) -> None:
    LatentCache(tmp_path / "cache").put(KEY, latents())
    assert (tmp_path / "cache" / "ab").stat().st_mode & 0o077 == 0


def test_the_default_folder_follows_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache_folder() == tmp_path / "lorasmith" / "latents"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_cache_folder() == tmp_path / "home" / ".cache" / "lorasmith" / "latents"


# ---- from draws to latents


class CountingEncoder:
    """Latents that say which pixels they were made of, and how often that was asked."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def pixels(self, one: Draw) -> Tensor:
        return torch.full((3, 16, 16), float(one.example.id.removesuffix(".png")))

    def encode(self, pixels: Tensor) -> LatentDistribution:
        self.batches.append(len(pixels))
        mean = pixels.mean((1, 2, 3), keepdim=True).expand(-1, 4, 2, 2)
        return LatentDistribution(mean, mean + 0.5)


@pytest.fixture
def encoder() -> CountingEncoder:
    return CountingEncoder()


def source(encoder: CountingEncoder, cache: LatentCache | None) -> LatentSource:
    return LatentSource(encoder.pixels, encoder.encode, RENDERING, "vae", cache)


def test_latents_come_in_the_order_of_the_draws_cached_or_not(encoder: CountingEncoder, tmp_path: Path) -> None:
    draws = [draw(f"{number}.png") for number in (3, 1, 2, 1)]
    for one in (source(encoder, LatentCache(tmp_path)), source(encoder, LatentCache(tmp_path)), source(encoder, None)):
        made = one.latents_of(draws)
        assert [float(value) for value in made.mean[:, 0, 0, 0]] == [3.0, 1.0, 2.0, 1.0]
        assert [float(value) for value in made.std[:, 0, 0, 0]] == [3.5, 1.5, 2.5, 1.5]
        assert made.mean.shape == (4, 4, 2, 2)


def test_what_is_cached_is_encoded_once_in_all_runs_and_alone(encoder: CountingEncoder, tmp_path: Path) -> None:
    draws = [draw(f"{number}.png") for number in (1, 2, 1)]
    source(encoder, LatentCache(tmp_path)).latents_of(draws)
    source(encoder, LatentCache(tmp_path)).latents_of(draws)
    assert encoder.batches == [1, 1], "one picture at a time, so that its neighbours cannot change its last bits"


def test_without_a_cache_each_draw_is_encoded_anew(encoder: CountingEncoder) -> None:
    without = source(encoder, None)
    without.latents_of([draw("1.png")])
    without.latents_of([draw("1.png")])
    assert encoder.batches == [1, 1]


def test_a_damaged_file_is_encoded_again_and_mended(encoder: CountingEncoder, tmp_path: Path) -> None:
    one = draw("1.png")
    source(encoder, LatentCache(tmp_path)).latents_of([one])
    (file,) = files(tmp_path)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert source(encoder, LatentCache(tmp_path)).latents_of([one]).mean[0, 0, 0, 0] == 1.0
    assert file.read_bytes() == whole
    assert encoder.batches == [1, 1]


def test_latents_that_are_not_finite_are_refused_and_never_kept(encoder: CountingEncoder, tmp_path: Path) -> None:
    one = draw("nan.png")
    with pytest.raises(DivergedError, match=r"latents of nan\.png are not finite.*half precision"):
        source(encoder, LatentCache(tmp_path)).latents_of([one])
    assert files(tmp_path) == []
