"""Owns PNG files that carry how they were drawn, in the text A1111, Forge and Civitai read; draws nothing."""

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lorasmith import __version__
from lorasmith.atomic import write_bytes
from lorasmith.inference.draw import DrawRequest
from lorasmith.inference.samplers import AUTOMATIC, SamplerChoice
from lorasmith.sizes import Size


@dataclass(frozen=True)
class PictureParameters:
    """How a picture was drawn: the prompt as it was typed, the request, the size, the base, and the rest.

    Of the base only the name is written: pictures are shown to others, and a path tells of this machine.
    """

    prompt: str
    request: DrawRequest
    size: Size
    model: str
    more: Mapping[str, str] = field(default_factory=dict[str, str])

    def as_text(self) -> str:
        """A1111's layout: prompt, `Negative prompt:` where there is one, then comma-separated `Key: value`."""
        settings = self.request.settings
        pairs = {
            "Steps": str(settings.steps),
            **_sampler(settings.sampler),
            "CFG scale": f"{settings.guidance:g}",
            "Seed": str(self.request.seed),
            "Size": f"{self.size.width}x{self.size.height}",
            "Model": _name_alone(self.model),
            **_clip_skip(settings.text.clip_skip),
            **self.more,
            "Version": f"lorasmith {__version__}",
        }
        negative = _one_line(self.request.negative_prompt)
        lines = [_one_line(self.prompt), *([f"Negative prompt: {negative}"] if negative else [])]
        return "\n".join([*lines, ", ".join(f"{name}: {_quoted(value)}" for name, value in pairs.items())])


def save_png(picture: Image.Image, path: Path, parameters: PictureParameters) -> None:
    """Write a picture with its parameters, whole or not at all."""
    information = PngInfo()
    information.add_itxt("parameters", parameters.as_text().encode(errors="replace").decode())
    content = io.BytesIO()
    picture.save(content, "PNG", pnginfo=information)
    write_bytes(path, content.getvalue())


def _sampler(choice: SamplerChoice | None) -> dict[str, str]:
    """As A1111 writes it since version 1.9: the schedule apart, and none where the sampler's own is taken."""
    if choice is None:
        return {"Sampler": "Euler"}
    schedule = {} if choice.schedule == AUTOMATIC else {"Schedule type": choice.schedule.name}
    return {"Sampler": choice.sampler.name, **schedule}


def _name_alone(base: str) -> str:
    return re.split(r"[/\\]", base.rstrip("/\\"))[-1].removesuffix(".safetensors")


def _clip_skip(skipped: int) -> dict[str, str]:
    """As Forge counts, for which the last layer is 1 and SDXL's own 2."""
    return {"Clip skip": str(skipped + 2)} if skipped else {}


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _quoted(value: str) -> str:
    """Quoted as A1111 does, so that a comma or a colon in a value does not start another."""
    value = _one_line(value)
    return json.dumps(value, ensure_ascii=False) if any(mark in value for mark in ',:"') else value
