"""What is edited in place between two runs is encoded again, and nothing else; so is what was damaged on the disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from PIL import Image
from torch import Tensor

from lorasmith.config.train import TrainConfig
from lorasmith.models.family import LatentDistribution, PromptEmbeddings
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs.train import train


@dataclass
class Encoders:
    """What the base's encoders were asked for."""

    pictures: int = 0
    prompts: set[str] = field(default_factory=set[str])


@pytest.fixture
def encoders(monkeypatch: pytest.MonkeyPatch) -> Encoders:
    """Counts what is encoded from here on."""
    counted = Encoders()
    pictures, prompts = Sdxl.encode_pictures, Sdxl.encode_prompts

    def count_pictures(self: Sdxl, batch: Tensor) -> LatentDistribution:
        counted.pictures += len(batch)
        return pictures(self, batch)

    def count_prompts(self: Sdxl, asked: Sequence[str]) -> PromptEmbeddings:
        counted.prompts |= set(asked)
        return prompts(self, asked)

    monkeypatch.setattr(Sdxl, "encode_pictures", count_pictures)
    monkeypatch.setattr(Sdxl, "encode_prompts", count_prompts)
    return counted


@pytest.fixture
def run_again(small_config: Callable[..., TrainConfig], tmp_path: Path, encoders: Encoders) -> Callable[[], Encoders]:
    """Trains anew on the same pictures and cache; what that asked of the encoders."""
    runs: list[Path] = []

    def run() -> Encoders:
        runs.append(tmp_path / f"run-{len(runs)}")
        config = small_config(
            tokens={"enabled": False}, schedule={"steps": 2, "batch_size": 2}, output={"folder": runs[-1]}
        )
        encoders.pictures = 0
        encoders.prompts.clear()
        train(config)
        return encoders

    run()
    assert encoders.pictures == 4
    return run


def test_what_was_not_edited_is_not_encoded_again(run_again: Callable[[], Encoders]) -> None:
    assert run_again().pictures == 0


def test_a_picture_edited_in_place_is_the_only_one_encoded_again(
    run_again: Callable[[], Encoders], tmp_path: Path
) -> None:
    picture = sorted((tmp_path / "instance").glob("*.png"))[1]
    before = picture.stat()
    with Image.open(picture) as opened:
        edited = opened.convert("RGB")
    edited.putpixel((0, 0), (1, 2, 3))
    edited.save(picture)
    assert picture.stat().st_mtime >= before.st_mtime
    assert run_again().pictures == 1
    assert run_again().pictures == 0


def test_a_caption_edited_in_place_is_read_anew_and_costs_no_picture(
    run_again: Callable[[], Encoders], tmp_path: Path
) -> None:
    caption = sorted((tmp_path / "instance").glob("*.txt"))[1]
    old = caption.read_text().strip()
    caption.write_text("a photo of TOK in a boat")
    asked = run_again()
    assert asked.pictures == 0
    assert "a photo of TOK in a boat" in asked.prompts
    assert old not in asked.prompts


def test_a_bit_that_flipped_on_the_disk_costs_one_picture(
    run_again: Callable[[], Encoders], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = sorted((tmp_path / "latents").rglob("*.safetensors"))[2]
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert run_again().pictures == 1
    assert "is damaged and is encoded again" in caplog.text
    assert file.name in caplog.text
    assert file.read_bytes() == whole
    assert run_again().pictures == 0
