"""Owns how programs call SDXL's modules: diffusers' paths, Stability's (sgm) paths, and either with underscores.

Kohya's scripts train SDXL in Stability's own layout, where blocks are one long list: with L ResNets a level, level i
of the way down starts at input block i·(L+1)+1 and level i of the way up at output block i·(L+1). The older WebUIs
read no other spelling. Refuses names that are no module of SDXL's in any of them.
"""

import re

from lorasmith.errors import DataError
from lorasmith.formats.weights import Part

PREFIXES: dict[Part, str] = {
    "denoiser": "lora_unet_",
    "text_encoder_1": "lora_te1_",
    "text_encoder_2": "lora_te2_",
}
_OUTSIDE = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_OUTSIDE_BACK = {sgm: path for path, sgm in _OUTSIDE.items()}
_IN_A_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_IN_A_RESNET_BACK = {sgm: leaf for leaf, sgm in _IN_A_RESNET.items()}
_ATTENTION_LEAF = r"(?:transformer_blocks\..+|proj_in|proj_out|norm)"
_INSIDE = re.compile(
    r"(?:(?P<level>(?:down|up)_blocks\.\d+)|mid_block)\."
    rf"(?:resnets\.(?P<resnet>\d+)\.(?P<piece>\w+)|attentions\.(?P<attention>\d+)\.(?P<leaf>{_ATTENTION_LEAF})"
    r"|(?P<sampler>downsamplers\.0\.conv|upsamplers\.0\.conv))"
)
_SGM = re.compile(
    r"(?P<list>input_blocks|middle_block|output_blocks)\.(?P<number>\d+)"
    r"(?:\.(?P<place>[012]))?\.(?P<leaf>(?:in_layers|out_layers|emb_layers)\.\d|skip_connection|op|conv"
    rf"|{_ATTENTION_LEAF})"
)
_TEXT = re.compile(r"(?:text_model\.)?(?:encoder\.layers\.\d+\..+|text_projection|final_layer_norm|embeddings\..+)")
_WORDS_WITH_UNDERSCORES = (
    *("down_blocks", "mid_block", "up_blocks", "input_blocks", "middle_block", "output_blocks", "transformer_blocks"),
    *("to_q", "to_k", "to_v", "to_out", "proj_in", "proj_out", "time_emb_proj", "conv_shortcut", "conv_norm_out"),
    *("conv_in", "conv_out", "time_embedding", "add_embedding", "linear_1", "linear_2", "in_layers", "out_layers"),
    *("emb_layers", "skip_connection", "time_embed", "label_emb"),
    *("text_model", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj", "text_projection", "final_layer_norm"),
)
_WORD = re.compile(
    rf"(?:{'|'.join(sorted(_WORDS_WITH_UNDERSCORES, key=len, reverse=True))}|[^_]+)(?=_|$)",
)


def kohya_name(part: Part, path: str, *, layers_per_block: int = 2) -> str:
    """The name in front of `.lora_down.weight` for a module of a part; DataError for one that has no such name."""
    inside = sgm_path(path, layers_per_block=layers_per_block) if part == "denoiser" else with_text_model(path)
    return PREFIXES[part] + inside.replace(".", "_")


def plain_kohya_name(part: Part, path: str) -> str:
    """The same with diffusers' block names, as kohya's scripts have them for Stable Diffusion 1 and some for SDXL."""
    return PREFIXES[part] + (path if part == "denoiser" else with_text_model(path)).replace(".", "_")


def module_of(name: str, *, layers_per_block: int = 2) -> tuple[Part, str]:
    """The part and module path behind a kohya name, the inverse of `kohya_name`; DataError when there is none."""
    for part, prefix in PREFIXES.items():
        if name.startswith(prefix):
            inside = dotted(name.removeprefix(prefix))
            if part == "denoiser":
                return part, denoiser_path(inside, layers_per_block=layers_per_block)
            return part, text_path(inside)
    raise DataError(f"{name} is not a module of SDXL in kohya's spelling.")


def with_text_model(path: str) -> str:
    """A text encoder's module path as it was before transformers 5 flattened CLIPTextModel; readers know this one."""
    return path if path.startswith(("text_model.", "text_projection")) else f"text_model.{path}"


def dotted(name: str) -> str:
    """Underscores to dots, except in the words that have underscores of their own."""
    return ".".join(_WORD.findall(name))


def is_sgm(dotted_path: str) -> bool:
    """Whether a denoiser's dotted path is in Stability's layout."""
    return _SGM.fullmatch(dotted_path) is not None or dotted_path in _OUTSIDE_BACK


def denoiser_path(dotted_path: str, *, layers_per_block: int = 2) -> str:
    """A denoiser's module as diffusers calls it, from either layout; DataError for what is no module of SDXL's."""
    if dotted_path in _OUTSIDE or _INSIDE.fullmatch(dotted_path):
        return dotted_path
    if dotted_path in _OUTSIDE_BACK:
        return _OUTSIDE_BACK[dotted_path]
    match = _SGM.fullmatch(dotted_path)
    path = None if match is None else _from_sgm(match, layers_per_block + 1)
    if path is None:
        raise DataError(f"{dotted_path} is not a module of SDXL's denoiser in any spelling.")
    return path


def text_path(dotted_path: str) -> str:
    """A text encoder's module with `text_model.` in front; DataError for what is no module of CLIP's."""
    if not _TEXT.fullmatch(dotted_path):
        raise DataError(f"{dotted_path} is not a module of a text encoder of SDXL.")
    return with_text_model(dotted_path)


def sgm_path(path: str, *, layers_per_block: int = 2) -> str:
    """A denoiser's module path in Stability's layout; DataError for one that has no place in it."""
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    match = _INSIDE.fullmatch(path)
    found = None if match is None else _to_sgm(match, layers_per_block + 1)
    if found is None:
        raise DataError(
            f"The module {path} has no name in SDXL's original layout.",
            remedy="Train the attention, or attention and feed-forward.",
        )
    return found


def _to_sgm(match: re.Match[str], stride: int) -> str | None:
    """`stride` is ResNets a level plus one."""
    way, _, level = (match["level"] or "mid_block").partition(".")
    place = match["resnet"] or match["attention"]
    match way, match["sampler"]:
        case "down_blocks", "downsamplers.0.conv":
            return f"input_blocks.{(int(level) + 1) * stride}.0.op"
        case "up_blocks", "upsamplers.0.conv":
            return f"output_blocks.{(int(level) + 1) * stride - 1}.2.conv"  # after ResNet and attention, as SDXL has it
        case _, str():
            return None
        case "down_blocks", None:
            block = f"input_blocks.{int(level) * stride + int(place) + 1}"
        case "up_blocks", None:
            block = f"output_blocks.{int(level) * stride + int(place)}"
        case _:
            block = "middle_block"
    if match["attention"] is not None:
        return f"{block}.1.{match['leaf']}"
    inside = _IN_A_RESNET.get(match["piece"])
    number = 2 * int(place) if block == "middle_block" else 0
    return None if inside is None else f"{block}.{number}.{inside}"


def _from_sgm(match: re.Match[str], stride: int) -> str | None:
    """The inverse of `_to_sgm`; None for places where SDXL has no such module."""
    number, leaf = int(match["number"]), match["leaf"]
    if match["list"] == "middle_block":
        inside = _IN_A_RESNET_BACK.get(leaf)
        if inside is not None:
            return f"mid_block.resnets.{number // 2}.{inside}" if number in (0, 2) else None
        return f"mid_block.attentions.0.{leaf}" if number == 1 else None
    is_down = match["list"] == "input_blocks"
    level, place = divmod(number - 1 if is_down else number, stride)
    way = "down_blocks" if is_down else "up_blocks"
    match leaf:
        case "op":
            return f"down_blocks.{level}.downsamplers.0.conv" if is_down and number else None
        case "conv":
            return None if is_down else f"up_blocks.{level}.upsamplers.0.conv"
        case _ if leaf in _IN_A_RESNET_BACK:
            return f"{way}.{level}.resnets.{place}.{_IN_A_RESNET_BACK[leaf]}" if number or not is_down else None
        case _:
            return f"{way}.{level}.attentions.{place}.{leaf}" if number or not is_down else None
