"""Owns masks of what words name: CLIPSeg (arXiv 2112.10003) as the cog-sdxl trainer asks it; keeps none itself."""
# transformers and numpy are typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateImportUsage=false

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from transformers import CLIPSegForImageSegmentation, PreTrainedModel
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from lorasmith.captioning.onlookers import folder_of, kind_of, open_tokenizer, opening
from lorasmith.data.wording import shown
from lorasmith.errors import DataError


@dataclass(frozen=True)
class MaskRequest:
    """What is to be masked: `words`, how soft (`temperature`) and what the rest keeps (`floor`, 0…1)."""

    words: str
    temperature: float = 1.0
    floor: float = 0.0


@dataclass(frozen=True)
class ClipSeg:
    """An opened CLIPSeg. `fingerprint` is a hash over its config and an even sample of its weights."""

    segmenter: PreTrainedModel
    tokenizer: Any
    pictures: ViTImageProcessorPil
    device: torch.device
    fingerprint: str

    @torch.no_grad()
    def mask(self, picture: Image.Image, request: MaskRequest) -> Image.Image:
        """How much each pixel of an upright RGB picture is what the words name, in grey; the most of all is white.

        A softmax between the words and no words at all, so that nothing has to be calibrated.
        """
        texts = self.tokenizer([request.words, ""], padding=True, truncation=True, return_tensors="pt")
        pixels: Tensor = self.pictures(images=[picture] * 2, return_tensors="pt")["pixel_values"]
        logits: Tensor = self.segmenter(
            input_ids=texts["input_ids"].to(self.device),
            attention_mask=texts["attention_mask"].to(self.device),
            pixel_values=pixels.to(self.device, self.segmenter.dtype),
        ).logits
        shares = (logits.float() / request.temperature).softmax(0)[0].cpu()
        values = (shares / shares.max()).clamp(min=request.floor)
        grey = Image.fromarray((values.numpy() * 255).round().astype(np.uint8))
        return grey.resize(picture.size, Image.Resampling.BILINEAR)


def open_clipseg(source: str, device: torch.device, where: str) -> ClipSeg:
    """CLIPSeg by id or path. Raises DataError where it is something else, HubError where it cannot be fetched."""
    folder = folder_of(source, where)
    kind = kind_of(folder, where)
    if kind != "clipseg":
        raise DataError(
            f"{shown(source)} is of the kind {shown(kind)!r}, not a CLIPSeg",
            where=where,
            remedy="The usual one is CIDAS/clipseg-rd64-refined.",
        )
    with opening(folder, "a CLIPSeg", where):
        segmenter = CLIPSegForImageSegmentation.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        tokenizer = open_tokenizer(folder)
        pictures = ViTImageProcessorPil.from_pretrained(folder, local_files_only=True)
    # In fp32 everywhere: masks are drawn once, and the same ones on every machine are worth the moment.
    segmenter.to(device).eval().requires_grad_(False)  # pyright: ignore[reportArgumentType]
    return ClipSeg(segmenter, tokenizer, pictures, device, _fingerprint(segmenter, folder))


def _fingerprint(segmenter: PreTrainedModel, folder: Path) -> str:
    digest = hashlib.sha256((folder / "config.json").read_bytes())
    for name, tensor in sorted(segmenter.state_dict().items()):
        flat = tensor.flatten()
        sample = flat[:: max(1, flat.numel() // 64)].float().cpu().contiguous()
        digest.update(name.encode() + sample.numpy().tobytes())
    return digest.hexdigest()
