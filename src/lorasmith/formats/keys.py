"""Owns how LoRA files spell their tensors, as data: which module a key is of, and which piece of its adapter.

Every key is read by itself: an ending says the piece, a beginning the part and the layout of the rest. So mixtures are
read too, and a file's spelling is that of most of its keys. Refuses nothing: what is in no table is no key of a LoRA.
"""

import re
from dataclasses import dataclass
from typing import Literal

from lorasmith.errors import DataError
from lorasmith.formats.module_names import denoiser_path, dotted, is_sgm, text_path
from lorasmith.formats.weights import Part

Spelling = Literal["diffusers", "diffusers-old", "peft", "kohya", "kohya-diffusers", "comfyui", "lycoris", "cog"]
Piece = Literal["down", "up", "mid", "alpha", "magnitude"]

ENDINGS: dict[str, Piece] = {
    ".lora_down.weight": "down",
    ".lora_up.weight": "up",
    ".lora_mid.weight": "mid",
    ".lora_A.weight": "down",
    ".lora_B.weight": "up",
    ".lora_A.default.weight": "down",
    ".lora_B.default.weight": "up",
    ".lora_A": "down",
    ".lora_B": "up",
    "_lora.down.weight": "down",
    "_lora.up.weight": "up",
    ".lora.down.weight": "down",
    ".lora.up.weight": "up",
    ".lora_linear_layer.down.weight": "down",
    ".lora_linear_layer.up.weight": "up",
    ".alpha": "alpha",
    "_lora.alpha": "alpha",
    ".lora.alpha": "alpha",
    ".dora_scale": "magnitude",
    ".lora_magnitude_vector": "magnitude",
    ".lora_magnitude_vector.weight": "magnitude",
    ".lora_magnitude_vector.default.weight": "magnitude",
}
"""How names end, and which piece of an adapter that is. `down` is peft's A, `up` is its B."""

OTHER_METHODS: dict[str, str] = {
    ".hada_": "LoHa",
    ".lokr_": "LoKr",
    ".oft_": "OFT",
    ".a1.weight": "GLoRA",
    ".b1.weight": "GLoRA",
    ".on_input": "IA³",
    ".diff": "whole weight differences",
    ".w_norm": "changes of normalization layers",
    ".b_norm": "changes of normalization layers",
    ".lora_B.bias": "LoRA with biases",
    ".bias_": "LoRA with biases",
    ".lora_up_": "DyLoRA's pieces",
}
"""What names of methods hold whose changes are no product of two thin matrices."""

_OLD_ENDINGS = ("_lora.down.weight", "_lora.up.weight", "_lora.alpha")
_ALSO_OLD = (".lora.", ".lora_linear_layer.")
_LONGEST_FIRST = sorted(ENDINGS, key=len, reverse=True)


@dataclass(frozen=True)
class _Beginning:
    """A beginning of names: what follows is a module of `part`, with dots or underscores."""

    text: str
    part: Part
    spelling: Spelling
    has_dots: bool = True


BEGINNINGS: tuple[_Beginning, ...] = (
    _Beginning("lora_unet_", "denoiser", "kohya", has_dots=False),
    _Beginning("lora_te1_", "text_encoder_1", "kohya", has_dots=False),
    _Beginning("lora_te2_", "text_encoder_2", "kohya", has_dots=False),
    _Beginning("lycoris_", "denoiser", "lycoris", has_dots=False),
    _Beginning("diffusion_model.", "denoiser", "comfyui"),
    _Beginning("text_encoders.clip_l.transformer.", "text_encoder_1", "comfyui"),
    _Beginning("text_encoders.clip_g.transformer.", "text_encoder_2", "comfyui"),
    _Beginning("unet.base_model.model.", "denoiser", "peft"),
    _Beginning("text_encoder.base_model.model.", "text_encoder_1", "peft"),
    _Beginning("text_encoder_2.base_model.model.", "text_encoder_2", "peft"),
    _Beginning("base_model.model.", "denoiser", "peft"),
    _Beginning("unet.", "denoiser", "diffusers"),
    _Beginning("text_encoder.", "text_encoder_1", "diffusers"),
    _Beginning("text_encoder_2.", "text_encoder_2", "diffusers"),
    _Beginning("", "denoiser", "cog"),
)
"""Tried in this order."""


@dataclass(frozen=True)
class Key:
    """What a tensor's name says: which piece of which module's adapter, `name` and `ending` as they stand in it."""

    part: Part
    path: str
    piece: Piece
    spelling: Spelling
    name: str
    ending: str


def read_key(text: str, *, layers_per_block: int = 2) -> Key | None:
    """What a tensor's name says; None when it is no key of a LoRA on a module of SDXL's."""
    ending = next((one for one in _LONGEST_FIRST if text.endswith(one)), None)
    if ending is None:
        return None
    name = text.removesuffix(ending)
    for beginning in BEGINNINGS:
        if name.startswith(beginning.text):
            return _key(name, ending, beginning, layers_per_block)
    return None


def other_method(text: str) -> str | None:
    """The method that a tensor's name belongs to where it is no LoRA's, such as LoHa."""
    return next((method for part, method in OTHER_METHODS.items() if part in text), None)


def _key(name: str, ending: str, beginning: _Beginning, layers_per_block: int) -> Key | None:
    inside = name.removeprefix(beginning.text)
    path = _as_now(inside if beginning.has_dots else dotted(inside), beginning.part)
    try:
        plain = (
            denoiser_path(path, layers_per_block=layers_per_block) if beginning.part == "denoiser" else text_path(path)
        )
    except DataError:
        return None
    spelling = _spelling(beginning, path, ending)
    return Key(beginning.part, plain, ENDINGS[ending], spelling, name, ending)


def _as_now(path: str, part: Part) -> str:
    """Names of 2023's attention processors as the modules are called: `attn1.processor.to_out` is `attn1.to_out.0`."""
    path = path.replace(".processor.", ".")
    if part == "denoiser":
        return re.sub(r"\.to_out$", ".to_out.0", path)
    return re.sub(r"\.to_(q|k|v|out)$", r".\1_proj", path)


def _spelling(beginning: _Beginning, path: str, ending: str) -> Spelling:
    """The beginning's own, unless layout or ending tell of another."""
    is_old = ending in _OLD_ENDINGS or ending.startswith(_ALSO_OLD)
    if beginning.spelling == "kohya" and beginning.part == "denoiser" and not is_sgm(path):
        return "kohya-diffusers"
    if beginning.spelling == "diffusers" and is_old:
        return "diffusers-old"
    if beginning.spelling == "cog" and not is_old:
        return "peft" if beginning.text else "diffusers"
    return beginning.spelling
