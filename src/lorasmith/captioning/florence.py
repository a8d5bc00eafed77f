"""Owns captions by Florence-2 (arXiv 2311.06242), through transformers' own class: code beside weights is never run."""
# transformers is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, assert_never

import torch
from transformers import Florence2ForConditionalGeneration
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from lorasmith.captioning.captioner import Seen
from lorasmith.captioning.onlookers import folder_of, kind_of, make_ready, open_tokenizer, opening
from lorasmith.data.wording import shown
from lorasmith.errors import DataError

USUAL = "florence-community/Florence-2-base"
Detail = Literal["short", "long", "longest"]
_MOST_TOKENS = 120
_BEAMS = 3
_USUAL_PLACES = 577


@dataclass(frozen=True)
class Florence:
    """An opened Florence-2, and how much it is to say."""

    speaker: Any
    tokenizer: Any
    pictures: CLIPImageProcessorPil
    device: torch.device
    places: int
    """How many tokens a picture takes."""
    detail: Detail

    @torch.no_grad()
    def describe(self, pictures: Sequence[Seen]) -> list[str]:
        """What each picture shows, by its three likeliest beams, as its makers ask it."""
        pixels = self.pictures(images=[one.pixels for one in pictures], return_tensors="pt")["pixel_values"]
        asked = self.tokenizer([self._question] * len(pictures), add_special_tokens=False, return_tensors="pt")
        said = self.speaker.generate(
            input_ids=asked["input_ids"].to(self.device),
            attention_mask=asked["attention_mask"].to(self.device),
            pixel_values=pixels.to(self.device, self.speaker.dtype),
            max_new_tokens=_MOST_TOKENS, num_beams=_BEAMS, do_sample=False,
        )  # fmt: skip
        return [text.strip() for text in self.tokenizer.batch_decode(said, skip_special_tokens=True)]

    @property
    def _question(self) -> str:
        """The places that the picture's own tokens take, then what is asked, as in transformers' Florence2Processor."""
        places = self.tokenizer.image_token * self.places
        return f"{places}{self.tokenizer.bos_token}{_asked(self.detail)}{self.tokenizer.eos_token}"


def open_florence(source: str, device: torch.device, where: str, detail: Detail = "long") -> Florence:
    """Florence-2 by id or path. Raises DataError where it is something else, HubError where it is not fetched."""
    folder = folder_of(source, where)
    kind = kind_of(folder, where)
    if kind != "florence2":
        raise DataError(
            f"{shown(source)} is of the kind {shown(kind)!r}, not a Florence-2 as transformers has it",
            where=where,
            remedy=f"The usual one is {USUAL}. Those under microsoft/ need code of their own, which is not run.",
        )
    with opening(folder, "a Florence-2", where):
        speaker = Florence2ForConditionalGeneration.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        tokenizer = open_tokenizer(folder)
        pictures = CLIPImageProcessorPil.from_pretrained(folder, local_files_only=True)
    make_ready(speaker, device)
    places = int(getattr(pictures, "image_seq_length", _USUAL_PLACES))
    return Florence(speaker, tokenizer, pictures, device, places, detail)


def _asked(detail: Detail) -> str:
    """What stands for <CAPTION>, <DETAILED_CAPTION> and <MORE_DETAILED_CAPTION>."""
    match detail:
        case "short":
            return "What does the image describe?"
        case "long":
            return "Describe in detail what is shown in the image."
        case "longest":
            return "Describe with a paragraph what is shown in the image."
        case _:
            assert_never(detail)
