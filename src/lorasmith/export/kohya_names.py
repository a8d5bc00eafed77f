"""Owns how modules are called in kohya files: SDXL's original (sgm) block numbers, dots as underscores.

Kohya's scripts train SDXL in Stability's own layout, where blocks are one long list: with L ResNets a level, level i
of the way down starts at input block i·(L+1)+1 and level i of the way up at output block i·(L+1). The older WebUIs
read no other spelling. Refuses modules that adapters are never put on (everything outside transformer blocks).
"""

import re

from lorasmith.errors import DataError
from lorasmith.export.weights import Part

PREFIXES: dict[Part, str] = {
    "denoiser": "lora_unet_",
    "text_encoder_1": "lora_te1_",
    "text_encoder_2": "lora_te2_",
}
_DOWN = re.compile(r"down_blocks\.(\d+)\.attentions\.(\d+)\.(.+)")
_MIDDLE = re.compile(r"mid_block\.attentions\.0\.(.+)")
_UP = re.compile(r"up_blocks\.(\d+)\.attentions\.(\d+)\.(.+)")
_SGM = re.compile(
    r"(input_blocks|middle_block|output_blocks)_(\d+)(?:_(\d+))?_(transformer_blocks_.+|proj_in|proj_out)"
)
_UNDERSCORED = ("transformer_blocks", "to_q", "to_k", "to_v", "to_out", "proj_in", "proj_out")
_TEXT_UNDERSCORED = ("text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj")


def kohya_name(part: Part, path: str, *, layers_per_block: int = 2) -> str:
    """The name in front of `.lora_down.weight` for a module of a part; DataError for one that has no such name."""
    inside = with_text_model(path) if part != "denoiser" else _sgm_path(path, layers_per_block + 1)
    return PREFIXES[part] + inside.replace(".", "_")


def module_of(name: str, *, layers_per_block: int = 2) -> tuple[Part, str]:
    """The part and module path behind a kohya name, the inverse of `kohya_name`; DataError when there is none."""
    for part, prefix in PREFIXES.items():
        if name.startswith(prefix):
            inside = name.removeprefix(prefix)
            if part == "denoiser":
                return part, _diffusers_path(inside, layers_per_block + 1)
            return part, _dotted(inside, _TEXT_UNDERSCORED)
    raise DataError(f"{name} is not a module of SDXL in kohya's spelling.")


def with_text_model(path: str) -> str:
    """A text encoder's module path as it was before transformers 5 flattened CLIPTextModel; readers know this one."""
    return path if path.startswith("text_model.") else f"text_model.{path}"


def _sgm_path(path: str, stride: int) -> str:
    """A denoiser's module path in Stability's layout; `stride` is ResNets a level plus one."""
    if down := _DOWN.fullmatch(path):
        return f"input_blocks.{int(down[1]) * stride + int(down[2]) + 1}.1.{down[3]}"
    if middle := _MIDDLE.fullmatch(path):
        return f"middle_block.1.{middle[1]}"
    if up := _UP.fullmatch(path):
        return f"output_blocks.{int(up[1]) * stride + int(up[2])}.1.{up[3]}"
    raise DataError(
        f"The module {path} has no name in kohya's format here: only those in transformer blocks have one.",
        remedy="Train the attention, or attention and feed-forward.",
    )


def _diffusers_path(inside: str, stride: int) -> str:
    """The inverse of `_sgm_path`, from the underscored spelling."""
    match = _SGM.fullmatch(inside)
    if match is None:
        raise DataError(f"{inside} is not a module of SDXL's denoiser in kohya's spelling.")
    kind, number, leaf = match[1], int(match[2]), _dotted(match[4], _UNDERSCORED)
    if kind == "middle_block":
        return f"mid_block.attentions.0.{leaf}"
    place = number - 1 if kind == "input_blocks" else number
    blocks = "down_blocks" if kind == "input_blocks" else "up_blocks"
    return f"{blocks}.{place // stride}.attentions.{place % stride}.{leaf}"


def _dotted(name: str, kept: tuple[str, ...]) -> str:
    """Underscores to dots, except in the words that have underscores of their own."""
    dotted = name.replace("_", ".")
    for word in kept:
        dotted = dotted.replace(word.replace("_", "."), word)
    return dotted
