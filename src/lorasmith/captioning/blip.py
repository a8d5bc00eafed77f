"""Owns captions by BLIP (arXiv 2201.12086) and BLIP-2 (arXiv 2301.12597), through transformers' own classes."""
# transformers is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import (
    Blip2ForConditionalGeneration,
    BlipForConditionalGeneration,
    PreTrainedModel,
)
from transformers.models.blip.image_processing_pil_blip import BlipImageProcessorPil

from lorasmith.captioning.captioner import Seen
from lorasmith.captioning.onlookers import folder_of, kind_of, make_ready, open_tokenizer, opening
from lorasmith.data.wording import shown
from lorasmith.errors import DataError

USUAL = "Salesforce/blip-image-captioning-large"
_MOST_TOKENS = 60


@dataclass(frozen=True)
class Blip:
    """An opened BLIP or BLIP-2."""

    speaker: Any
    tokenizer: Any
    pictures: BlipImageProcessorPil
    device: torch.device

    @torch.no_grad()
    def describe(self, pictures: Sequence[Seen]) -> list[str]:
        """What each picture shows, the likeliest words without chance, so that the same picture gets the same ones."""
        pixels = self.pictures(images=[one.pixels for one in pictures], return_tensors="pt")["pixel_values"]
        said = self.speaker.generate(
            pixel_values=pixels.to(self.device, self.speaker.dtype), max_new_tokens=_MOST_TOKENS, do_sample=False
        )
        return [text.strip() for text in self.tokenizer.batch_decode(said, skip_special_tokens=True)]


def open_blip(source: str, device: torch.device, where: str) -> Blip:
    """BLIP or BLIP-2 by id or path. Raises DataError where it is something else, HubError where it is not fetched."""
    folder = folder_of(source, where)
    kind = kind_of(folder, where)
    with opening(folder, "a BLIP", where):
        speaker = _speaker(kind, folder, source, where)
        tokenizer = open_tokenizer(folder)
        pictures = BlipImageProcessorPil.from_pretrained(folder, local_files_only=True)
    make_ready(speaker, device)
    return Blip(speaker, tokenizer, pictures, device)


def _speaker(kind: str, folder: Path, source: str, where: str) -> PreTrainedModel:
    match kind:
        case "blip":
            return BlipForConditionalGeneration.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        case "blip-2":
            return Blip2ForConditionalGeneration.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        case _:
            raise DataError(
                f"{shown(source)} is of the kind {shown(kind)!r}, not a BLIP",
                where=where,
                remedy=f"The usual one is {USUAL}; Salesforce/blip2-opt-2.7b is larger.",
            )
