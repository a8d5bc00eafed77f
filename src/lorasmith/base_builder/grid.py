"""Owns contact sheets: pictures drawn by a pipeline for a list of prompts; refuses to judge them."""
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from diffusers import StableDiffusionXLPipeline
from PIL import Image, ImageDraw

from ..world import BACKGROUNDS, OBJECTS, STYLES, Scene, prompt_of

_AT_ONCE = 8


def tour_prompts() -> list[str]:
    """One prompt for every object, going round the styles and backgrounds."""
    return [
        prompt_of(Scene(thing.name, STYLES[place % len(STYLES)], BACKGROUNDS[place % len(BACKGROUNDS)]))
        for place, thing in enumerate(OBJECTS)
    ]


def draw_pictures(
    pipeline: StableDiffusionXLPipeline,
    prompts: Sequence[str],
    *,
    seed: int = 0,
    guidance: float = 4.0,
    steps: int = 20,
) -> Iterator[Image.Image]:
    """One picture a prompt; the noise depends on `seed` and the prompt's place alone."""
    pipeline.set_progress_bar_config(disable=True)
    side = pipeline.unet.config.sample_size * pipeline.vae_scale_factor
    numbered = list(enumerate(prompts))
    for start in range(0, len(numbered), _AT_ONCE):
        places, chosen = zip(*numbered[start : start + _AT_ONCE], strict=True)
        yield from pipeline(
            prompt=list(chosen),
            height=side,
            width=side,
            guidance_scale=guidance,
            num_inference_steps=steps,
            generator=[torch.Generator().manual_seed(seed * 100_003 + place) for place in places],
        ).images


def write_sheet(pictures: Sequence[Image.Image], labels: Sequence[str], path: Path, *, columns: int, zoom: int) -> None:
    """Lay `pictures` out in `columns`, enlarged `zoom` times, each with its label below."""
    side, caption = pictures[0].width * zoom, 12
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * side, rows * (side + caption)), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for place, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        left, top = place % columns * side, place // columns * (side + caption)
        sheet.paste(picture.resize((side, side), Image.Resampling.BICUBIC), (left, top))
        draw.text((left + 2, top + side), label[: side // 6], fill=(0, 0, 0))
    sheet.save(path)
