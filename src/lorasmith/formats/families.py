"""Owns telling which family of bases a LoRA or an embedding is for, from names and shapes; opens nothing.

What a header says is no proof: WebUIs go by it, and it is often missing or wrong. Widths are proof: a denoiser's
cross-attention reads text of its own base's width.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

FamilyName = Literal[
    "SDXL", "SDXL refiner", "Stable Diffusion 1", "Stable Diffusion 2", "Stable Diffusion 3", "Flux",
    "another family", "unknown",
]  # fmt: skip
Shapes = Mapping[str, tuple[int, ...]]

_TEXT_WIDTHS: dict[int, FamilyName] = {
    768: "Stable Diffusion 1",
    1024: "Stable Diffusion 2",
    1280: "SDXL refiner",
    2048: "SDXL",
}
"""Width of the text that the denoiser's cross-attention reads."""
_OTHER_NAMES: tuple[tuple[str, FamilyName], ...] = (
    (r"single_transformer_blocks|double_blocks|single_blocks", "Flux"),
    (r"joint_blocks|transformer_blocks[._]\d+[._](?:attn[._]add_q_proj|norm1_context)", "Stable Diffusion 3"),
    (r"^(?:transformer\.|lora_transformer_|(?:diffusion_model\.|lora_unet_)(?:blocks|layers)[._])", "another family"),
)  # fmt: skip
_READS_TEXT = re.compile(r"attn2[._](?:processor\.)?to_[kv]\b|attn2[._](?:processor\.)?to_[kv]_lora")
_DEPTH = re.compile(r"transformer_blocks[._](\d+)[._]")
_INPUT_ENDS = (".lora_down.weight", ".lora_A.weight", ".lora_A.default.weight", "lora.down.weight", ".down.weight")
_OTHER_EMBEDDINGS: dict[int, FamilyName] = {768: "Stable Diffusion 1", 1024: "Stable Diffusion 2", 4096: "Flux"}


@dataclass(frozen=True)
class Family:
    """A family, and by what it is told, in words."""

    name: FamilyName
    told_by: str

    @property
    def may_be_sdxl(self) -> bool:
        """Whether nothing says that it is another's: small bases for tests have widths of no known family."""
        return self.name in ("SDXL", "unknown")


def family_of(shapes: Shapes) -> Family:
    """The family that a file's tensors are for, by the first thing that tells."""
    for find in (_by_names, _by_text_width, _by_text_encoders, _by_depth, _by_embeddings):
        family = find(shapes)
        if family is not None:
            return family
    return Family("unknown", "no tensor in it has a shape or a name that tells")


def as_a1111_thinks(header: Mapping[str, str]) -> FamilyName:
    """What A1111 (1.10) files a LoRA under, from its header alone; it hides what is of another family than the base."""
    if header.get("ss_base_model_version", "").startswith("sdxl_"):
        return "SDXL"
    if header.get("ss_v2") == "True":
        return "Stable Diffusion 2"
    return "Stable Diffusion 1" if header else "unknown"


def _by_names(shapes: Shapes) -> Family | None:
    for pattern, family in _OTHER_NAMES:
        found = next((name for name in shapes if re.search(pattern, name)), None)
        if found is not None:
            return Family(family, f"a tensor is called {found[:80]}")
    return None


def _by_text_width(shapes: Shapes) -> Family | None:
    width = next(_widths(shapes, lambda name: _READS_TEXT.search(name) is not None), None)
    if width is None:
        return None
    return Family(_TEXT_WIDTHS.get(width, "unknown"), f"its cross-attention reads text of width {width}")


def _by_text_encoders(shapes: Shapes) -> Family | None:
    alone = next(_widths(shapes, lambda name: name.startswith("lora_te_")), None)
    if alone is not None:
        return Family(_TEXT_WIDTHS.get(alone, "unknown"), f"it has one text encoder, of width {alone}")
    second = ("lora_te2_", "text_encoder_2.", "text_encoders.clip_g.")
    width = next(_widths(shapes, lambda name: name.startswith(second) and "self_attn" in name), None)
    if width == 1280:
        return Family("SDXL", "its second text encoder is 1280 wide")
    return None


def _by_depth(shapes: Shapes) -> Family | None:
    """SDXL stacks ten blocks of attention in its deep levels, Stable Diffusion 1 and 2 one."""
    deepest = max((int(match[1]) for name in shapes if (match := _DEPTH.search(name))), default=0)
    return Family("SDXL", f"it stacks {deepest + 1} blocks of attention") if deepest > 1 else None


def _by_embeddings(shapes: Shapes) -> Family | None:
    for name, shape in shapes.items():
        if name.endswith(("clip_g", "text_encoders_1")) and shape and shape[-1] == 1280:
            return Family("SDXL", "its rows are 1280 wide for the second text encoder")
    if len(shapes) == 1 and (shape := next(iter(shapes.values()))) and shape[-1] in _OTHER_EMBEDDINGS:
        return Family(_OTHER_EMBEDDINGS[shape[-1]], f"its rows are {shape[-1]} wide")
    return None


def _widths(shapes: Shapes, fits: Callable[[str], bool]) -> Iterator[int]:
    """Inputs of the adapters whose names fit."""
    for name, shape in shapes.items():
        if name.endswith(_INPUT_ENDS) and len(shape) > 1 and fits(name):
            yield shape[1]
