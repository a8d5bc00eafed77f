# pyright: reportUnknownVariableType=false, reportUnknownArgumentType=false
"""CLIP and DINOv2 in transformers' own classes, small and random: what they read, and that nobody fetches them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import constants
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextConfig,
    CLIPTokenizer,
    CLIPVisionConfig,
    Dinov2Config,
    Dinov2Model,
)
from transformers.utils import logging as transformers_logging

from lorasmith.errors import DataError
from lorasmith.evaluation.trained_readers import open_clip, open_dino

RED, BLUE = (Image.new("RGB", (40, 30), colour) for colour in ("red", "blue"))


@pytest.fixture
def clip_folder(tmp_path: Path, tiny_base: Path) -> Path:
    """A small CLIP with the tiny base's tokenizer."""
    tokenizer = CLIPTokenizer.from_pretrained(tiny_base / "tokenizer")
    text = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2
    )
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, patch_size=8
    )
    torch.manual_seed(0)
    config = CLIPConfig(text_config=text.to_dict(), vision_config=vision.to_dict(), projection_dim=12)
    folder = tmp_path / "clip"
    CLIPModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def dino_folder(tmp_path: Path) -> Path:
    """A small DINOv2."""
    torch.manual_seed(0)
    config = Dinov2Config(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, image_size=28, patch_size=14)
    folder = tmp_path / "dino"
    Dinov2Model(config).save_pretrained(folder)
    return folder


def test_clip_puts_pictures_and_words_into_one_space(clip_folder: Path) -> None:
    clip = open_clip(str(clip_folder), download=False)
    assert clip is not None
    pictures, texts = clip.pictures([RED, BLUE]), clip.texts(["a red thing", "a much longer text about a blue thing"])
    assert pictures.shape == texts.shape == (2, 12)
    assert not np.allclose(pictures[0], pictures[1])


def test_clip_reads_as_its_own_class_does(clip_folder: Path) -> None:
    clip = open_clip(str(clip_folder), download=False)
    assert clip is not None
    layers = CLIPModel.from_pretrained(clip_folder).eval()
    tokenizer = CLIPTokenizer.from_pretrained(clip_folder)
    square = Image.new("RGB", (32, 32), "red")
    mean, std = (np.array(part) for part in ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)))
    pixels = torch.from_numpy((np.asarray(square) / 255 - mean) / std).permute(2, 0, 1)[None].float()
    words = tokenizer(["a red thing"], return_tensors="pt")
    with torch.no_grad():
        both = layers(pixel_values=pixels, **words)
    mine = clip.pictures([square])[0] / np.linalg.norm(clip.pictures([square])[0])
    assert mine == pytest.approx(both.image_embeds[0].numpy(), abs=1e-5)
    said = clip.texts(["a red thing"])[0]
    assert said / np.linalg.norm(said) == pytest.approx(both.text_embeds[0].numpy(), abs=1e-5)


@pytest.mark.parametrize("shown_before", [True, False])
def test_opening_shows_no_progress_bars_and_leaves_the_setting_as_it_was(
    clip_folder: Path, shown_before: bool, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transformers_logging, "_tqdm_active", shown_before)
    assert open_clip(str(clip_folder), download=False) is not None
    assert "Loading weights" not in capfd.readouterr().err
    assert transformers_logging.is_progress_bar_enabled() is shown_before
    CLIPModel.from_pretrained(clip_folder)
    assert ("Loading weights" in capfd.readouterr().err) is shown_before


def test_a_picture_is_read_the_same_whatever_stands_beside_it(clip_folder: Path, dino_folder: Path) -> None:
    clip, dino = open_clip(str(clip_folder), download=False), open_dino(str(dino_folder), download=False)
    assert clip is not None
    assert dino is not None
    for reader in (clip, dino):
        assert reader.pictures([RED])[0] == pytest.approx(reader.pictures([BLUE] * 9 + [RED])[9], abs=1e-5)
    assert dino.pictures([RED, BLUE]).shape == (2, 16)


def test_what_is_not_on_this_machine_is_left_out_and_never_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert open_clip(None, download=False) is None
    assert open_dino(None, download=False) is None


def test_none_is_an_answer() -> None:
    assert open_clip("none", download=False) is None
    assert open_dino("none", download=False) is None


def test_a_folder_that_holds_no_such_thing_is_refused_with_its_flag(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="neither a folder") as refused:
        open_dino(str(tmp_path / "nothing"), download=False)
    assert refused.value.problems[0].where == "--dino"


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="could not be opened"):
        open_clip(str(tmp_path), download=False)
