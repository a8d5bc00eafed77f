"""Owns how other programs read LoRA and embeddings of SDXL, as data, written from their sources; reads nothing itself.

A rule says which names a program finds modules by, with which endings; what it does with the rest; which alpha it
takes; how it applies a DoRA's magnitudes; and what it goes by besides the tensors. `readings.py` applies the rules.
"""

from dataclasses import dataclass
from typing import Literal

from lorasmith.formats.dora import DoraRule
from lorasmith.formats.embeddings_format import EmbeddingsForm

ProgramName = Literal["diffusers", "ComfyUI", "A1111", "Forge", "SD.Next", "kohya", "InvokeAI"]


@dataclass(frozen=True)
class KeyRule:
    """Names of modules (a regular expression for all of a key but its ending) and the endings read with them."""

    names: str
    endings: frozenset[str]


@dataclass(frozen=True)
class Program:
    """One program's reading of SDXL files.

    `strangers` says what becomes of a file with keys that no rule has: they are passed over, or all of it is
    refused. `alpha`: each module's own (the rank where none is said), or a part's commonest for all of the part.
    `heeds_header`: whether alphas in the header count. `whole_attention`: whether the second text encoder's
    attention is read only where query, key, value and output are all there. `hides_by_header`: whether the header
    can hide the file. `leaves_out`: endings that are passed over although strangers are refused. `pools_at` is
    where a prompt with new tokens is pooled, given SDXL's own text-encoder configs.
    """

    name: ProgramName
    version: str
    keys: tuple[KeyRule, ...]
    strangers: Literal["passed over", "refused", "refused beyond 12"]
    dora: DoraRule
    embeddings: frozenset[EmbeddingsForm]
    bundles: Literal["read", "passed over", "refused"]
    pools_at: Literal["end of text", "highest id"]
    alpha: Literal["own", "commonest"] = "own"
    heeds_header: bool = False
    whole_attention: bool = False
    hides_by_header: bool = False
    mixes_layouts: bool = True
    leaves_out: frozenset[str] = frozenset()


_KOHYA = frozenset({".lora_down.weight", ".lora_up.weight", ".alpha"})
_LYCORIS = _KOHYA | {".lora_mid.weight", ".dora_scale"}
_PEFT = frozenset({".lora_A.weight", ".lora_B.weight"})
_OLD = frozenset({".lora.down.weight", ".lora.up.weight", "_lora.down.weight", "_lora.up.weight"})
_OLD_TEXT = frozenset({".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"})
_MAGNITUDES = frozenset({".lora_magnitude_vector", ".lora_magnitude_vector.weight"})
_COMFYUI = _LYCORIS | _PEFT | _OLD | _OLD_TEXT

_SGM = r"lora_unet_(?:input_blocks|middle_block|output_blocks|time_embed_|label_emb|out_).+"
_PLAIN = r"lora_unet_(?:down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding_|add_embedding_).*"
_TEXT = r"lora_te[12]_text_model_encoder_layers_\d+_(?:mlp_fc[12]|self_attn_(?:q|k|v|out)_proj)"
_DOTTED = r"(?:down_blocks|mid_block|up_blocks|conv_in|conv_out|time_embedding|add_embedding)\b.*"
_DOTTED_TEXT = r"text_encoder(?:_2)?\.text_model\.encoder\.layers\.\d+\.(?:mlp\.fc[12]|self_attn\.(?:q|k|v|out)_proj)"
_WITHOUT_TO = r"(?!.*(?<!\.processor)\.to_)"
"""ComfyUI looks for `attn1.processor.to_q`, the name of 2023, wherever a module of the denoiser is called `to_…`."""
_BOTH: frozenset[EmbeddingsForm] = frozenset({"clip_l and clip_g"})

_COMFYUI_KEYS = (
    KeyRule(_SGM, _COMFYUI),
    KeyRule(_PLAIN, _COMFYUI),
    KeyRule(rf"lycoris_{_PLAIN.removeprefix('lora_unet_')}", _COMFYUI),
    KeyRule(_TEXT, _COMFYUI),
    KeyRule(r"lora_te2_text_projection", _COMFYUI),
    KeyRule(_DOTTED_TEXT, _COMFYUI),
    KeyRule(rf"(?:unet\.)?{_WITHOUT_TO}{_DOTTED}", _COMFYUI),
    KeyRule(r"diffusion_model\..+", _COMFYUI),
)

PROGRAMS: tuple[Program, ...] = (
    Program(
        name="diffusers",
        version="0.42",
        keys=(
            KeyRule(rf"unet\.{_DOTTED}", _PEFT | _OLD | _MAGNITUDES),
            KeyRule(r"text_encoder(?:_2)?\.text_model\..+", _PEFT | _OLD | _OLD_TEXT | _MAGNITUDES),
            KeyRule(_SGM, _KOHYA),
            KeyRule(_PLAIN, _KOHYA),
            KeyRule(r"lora_te[12]_text_model_.+|lora_te2_text_projection", _KOHYA),
        ),
        strangers="refused",
        dora="exact",
        embeddings=frozenset({"clip_l and clip_g", "text_encoders_0 and text_encoders_1"}),
        bundles="refused",
        pools_at="highest id",
        alpha="commonest",
        heeds_header=True,
        mixes_layouts=False,
        leaves_out=frozenset({".dora_scale"}),
    ),
    Program(
        name="ComfyUI",
        version="2025",
        keys=(*_COMFYUI_KEYS, KeyRule(r"text_encoders\.clip_[lg]\.transformer\..+", _COMFYUI)),
        strangers="passed over",
        dora="base norms on outputs",
        embeddings=_BOTH,
        bundles="passed over",
        pools_at="end of text",
    ),
    Program(
        name="A1111",
        version="1.10",
        keys=(
            KeyRule(_SGM, _LYCORIS),
            KeyRule(rf"(?!lora_unet_add_){_PLAIN}", _LYCORIS),
            KeyRule(_TEXT, _LYCORIS),
        ),
        strangers="passed over",
        dora="inputs only",
        embeddings=_BOTH,
        bundles="read",
        pools_at="end of text",
        whole_attention=True,
        hides_by_header=True,
    ),
    Program(
        name="Forge",
        version="June 2025",
        keys=_COMFYUI_KEYS,
        strangers="refused beyond 12",
        dora="base norms on outputs",
        embeddings=_BOTH,
        bundles="passed over",
        pools_at="end of text",
    ),
    Program(
        name="SD.Next",
        version="March 2025",
        keys=(
            KeyRule(_SGM, _LYCORIS),
            KeyRule(_PLAIN, _LYCORIS),
            KeyRule(_TEXT, _LYCORIS),
            KeyRule(rf"unet\.{_DOTTED}", _PEFT),
        ),
        strangers="passed over",
        dora="inputs only, unscaled",
        embeddings=_BOTH,
        bundles="read",
        pools_at="highest id",
    ),
    Program(
        name="kohya",
        version="0.10",
        keys=(KeyRule(_SGM, _KOHYA), KeyRule(_PLAIN, _KOHYA), KeyRule(_TEXT, _KOHYA)),
        strangers="passed over",
        dora="passed over",
        embeddings=_BOTH,
        bundles="passed over",
        pools_at="end of text",
    ),
    Program(
        name="InvokeAI",
        version="6.14",
        keys=(KeyRule(_SGM, _LYCORIS), KeyRule(_PLAIN, _LYCORIS), KeyRule(r"lora_te[12]_.+", _LYCORIS)),
        strangers="refused",
        dora="inputs only",
        embeddings=_BOTH,
        bundles="passed over",
        pools_at="highest id",
        mixes_layouts=False,
    ),
)
