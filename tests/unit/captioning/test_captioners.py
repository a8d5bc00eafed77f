"""Captioners are transformers' own classes, read from disk; what a picture gets does not depend on its company."""

# transformers is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BlipForConditionalGeneration,
    BlipProcessor,
    Florence2Processor,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lorasmith.captioning.blip import open_blip
from lorasmith.captioning.captioner import Captioner, Seen
from lorasmith.captioning.florence import open_florence
from lorasmith.captioning.words_to_masks import MaskRequest, open_clipseg
from lorasmith.errors import DataError, HubError
from lorasmith.testing.onlookers import tiny_blip, tiny_blip2, tiny_clipseg, tiny_florence2

CPU = torch.device("cpu")
Open = Callable[[str, torch.device, str], Captioner]
KINDS: dict[str, tuple[Callable[[Path], Path], Open]] = {
    "blip": (tiny_blip, open_blip),
    "blip-2": (tiny_blip2, open_blip),
    "florence2": (tiny_florence2, open_florence),
}


def noise(count: int) -> list[Seen]:
    """Pictures of different shapes that look like nothing."""
    drawn = [np.random.RandomState(at).randint(0, 255, (40 + at, 60, 3)).astype(np.uint8) for at in range(count)]
    return [Seen(Image.fromarray(pixels), f"picture {at}", at) for at, pixels in enumerate(drawn)]


@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_described_alike_alone_and_together_and_differently_from_each_other(
    tmp_path: Path, kind: str
) -> None:
    make, opened = KINDS[kind]
    captioner = opened(str(make(tmp_path)), CPU, "--model")
    pictures = [*noise(4), Seen(Image.new("RGB", (50, 50), "red"), "red", 5)]
    together = captioner.describe(pictures)
    assert together == [captioner.describe([one])[0] for one in pictures]
    assert len(set(together)) > 1
    assert not any("[" in text or "<" in text for text in together), "special tokens are no words"


def test_blip_says_what_transformers_own_processor_and_class_say(tmp_path: Path) -> None:
    tiny_blip(tmp_path)
    processor: Any = BlipProcessor(
        BlipImageProcessorPil.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    )
    speaker = BlipForConditionalGeneration.from_pretrained(tmp_path).eval()
    pictures = noise(3)
    given = processor(images=[one.pixels for one in pictures], return_tensors="pt")
    said = processor.batch_decode(speaker.generate(**given, max_new_tokens=60), skip_special_tokens=True)
    assert open_blip(str(tmp_path), CPU, "--model").describe(pictures) == [text.strip() for text in said]


@pytest.mark.parametrize(
    ("detail", "task"), [("short", "<CAPTION>"), ("long", "<DETAILED_CAPTION>"), ("longest", "<MORE_DETAILED_CAPTION>")]
)
def test_florence_is_asked_as_transformers_own_processor_asks_it(
    tmp_path: Path, detail: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_florence2(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    processor: Any = Florence2Processor(CLIPImageProcessorPil.from_pretrained(tmp_path), tokenizer)
    (picture,) = noise(1)
    wanted = processor(text=task, images=picture.pixels, return_tensors="pt")
    captioner = open_florence(str(tmp_path), CPU, "--model", detail)  # pyright: ignore[reportArgumentType]
    asked: dict[str, torch.Tensor] = {}
    generate = captioner.speaker.generate

    def listening(**given: torch.Tensor) -> torch.Tensor:
        asked.update(given)
        return generate(**given)

    monkeypatch.setattr(captioner.speaker, "generate", listening)
    captioner.describe([picture])
    assert torch.equal(asked["input_ids"], wanted["input_ids"])
    torch.testing.assert_close(asked["pixel_values"], wanted["pixel_values"])


def test_other_kinds_of_weights_are_refused_by_name(tmp_path: Path) -> None:
    blip = str(tiny_blip(tmp_path / "blip"))
    for opened, said in ((open_florence, "'blip', not a Florence-2"), (open_clipseg, "'blip', not a CLIPSeg")):
        with pytest.raises(DataError, match=said):
            opened(blip, CPU, "--model")
    with pytest.raises(DataError, match="'clipseg', not a BLIP"):
        open_blip(str(tiny_clipseg(tmp_path / "clipseg")), CPU, "--model")
    with pytest.raises(DataError, match="there is no folder"):
        open_blip("./nowhere", CPU, "--model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no config\.json"):
        open_blip(str(tmp_path / "empty"), CPU, "--model")


@pytest.mark.parametrize("missing", ["model.safetensors", "tokenizer.json", "preprocessor_config.json"])
def test_weights_with_a_part_missing_are_refused(tmp_path: Path, missing: str) -> None:
    tiny_blip(tmp_path)
    (tmp_path / missing).unlink()
    if missing == "tokenizer.json":
        (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(DataError, match="cannot be opened as a BLIP"):
        open_blip(str(tmp_path), CPU, "--model")


def test_pickled_weights_are_never_opened(tmp_path: Path) -> None:
    tiny_blip(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({}, tmp_path / "pytorch_model.bin")
    with pytest.raises(DataError, match="safetensors"):
        open_blip(str(tmp_path), CPU, "--model")


def test_code_beside_the_weights_is_never_run(tmp_path: Path) -> None:
    tiny_florence2(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModelForCausalLM": "evil.Florence"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    open_florence(str(tmp_path), CPU, "--model").describe(noise(1))
    assert not (tmp_path / "ran").exists()


def test_an_id_that_cannot_be_fetched_is_a_refusal_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(HubError, match="somebody/blip"):
        open_blip("somebody/blip", CPU, "--model")


def test_masks_from_words_are_clipsegs_softmax_between_the_words_and_none(tmp_path: Path) -> None:
    clipseg = open_clipseg(str(tiny_clipseg(tmp_path)), CPU, "--model")
    (picture,) = noise(1)
    mask = np.asarray(clipseg.mask(picture.pixels, MaskRequest("a dog")))
    assert mask.shape == (40, 60)
    texts = clipseg.tokenizer(["a dog", ""], padding=True, return_tensors="pt")
    pixels = clipseg.pictures(images=[picture.pixels] * 2, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        logits = clipseg.segmenter(**texts, pixel_values=pixels).logits
    shares = torch.exp(logits[0]) / (torch.exp(logits[0]) + torch.exp(logits[1]))
    small = Image.fromarray((shares / shares.max() * 255).round().numpy().astype(np.uint8))
    assert np.array_equal(mask, np.asarray(small.resize((60, 40), Image.Resampling.BILINEAR)))


def test_temperature_softens_masks_floors_lift_them_and_words_change_them(tmp_path: Path) -> None:
    clipseg = open_clipseg(str(tiny_clipseg(tmp_path)), CPU, "--model")
    (picture,) = noise(1)

    def drawn(request: MaskRequest) -> np.ndarray:
        return np.asarray(clipseg.mask(picture.pixels, request), dtype=int)

    plain, hard, soft = (drawn(MaskRequest("a dog", temperature=at)) for at in (1.0, 0.2, 999.0))
    assert np.ptp(hard) > np.ptp(plain) > np.ptp(soft)
    assert soft.min() > 250, "cog-sdxl's way of masking nothing"
    assert drawn(MaskRequest("a dog", temperature=0.2, floor=0.5)).min() >= 127
    assert not np.array_equal(plain, drawn(MaskRequest("the red cup")))
