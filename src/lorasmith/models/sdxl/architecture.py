"""Owns naming what a safetensors file holds when it is no SDXL base, from names and shapes; opens nothing."""

from collections.abc import Callable
from dataclasses import dataclass

from lorasmith.models.safetensors_header import Header

_DENOISER = "model.diffusion_model."
_OTHER_BASE = "lorasmith trains SDXL-class bases: take one, such as an SDXL 1.0, Pony or Illustrious checkpoint."
_WHOLE_BASE = "Take the whole checkpoint, with denoiser, text encoders and VAE in one file, or a diffusers folder."


@dataclass(frozen=True)
class Kind:
    """What a file is, in words that follow 'it is', and what to do instead."""

    name: str
    remedy: str


def quantization_in(header: Header) -> Kind | None:
    """What to say of weights that are not plain floating-point numbers; None where they are."""
    for name, entry in header.tensors.items():
        scaled = name.endswith((".scale_weight", ".weight_scale", ".absmax", ".quant_map")) or name == "scaled_fp8"
        is_weight = entry.shape != () and name.startswith((_DENOISER, "conditioner.", "first_stage_model."))
        if scaled or (is_weight and not entry.is_floating and not name.endswith("position_ids")):
            return Kind(f"quantized ({name} is {entry.dtype})", "Take the same checkpoint in fp16, bf16 or fp32.")
    return None


def kind_of(header: Header) -> Kind:
    """What a file is that does not have an SDXL base's names and shapes."""
    for find in (_other_weights, _other_denoisers, _part_alone, _other_unet):
        kind = find(header)
        if kind is not None:
            return kind
    first = ", ".join(sorted(header.tensors)[:3]) or "none"
    return Kind(f"nothing known: it has {len(header.tensors)} tensors ({first[:200]})", _WHOLE_BASE)


def _other_weights(header: Header) -> Kind | None:
    """LoRAs, embeddings and ControlNets: what is laid over a base."""
    has = _finder(header)
    if has(".lora_", "lora_unet_", "lora_te", ".hada_w", ".lokr_w", "oft_blocks", ".dora_scale"):
        return Kind("a LoRA, not a base", "Name the base it was trained on.")
    if {"clip_l", "clip_g"} & header.tensors.keys() or has("emb_params", "string_to_param"):
        return Kind("an embedding, not a base", "Name the base it was trained on.")
    if has("control_model.", "input_hint_block", "controlnet_cond_embedding", "controlnet_down_blocks"):
        return Kind("a ControlNet, not a base", "Name a base.")
    return None


def _other_denoisers(header: Header) -> Kind | None:
    """Transformers in the denoiser's place."""
    has = _finder(header)
    if has("double_blocks.0.img_attn"):
        return Kind("Flux or a relative of it", _OTHER_BASE)
    if has("joint_blocks.0."):
        return Kind("Stable Diffusion 3", _OTHER_BASE)
    return None


def _part_alone(header: Header) -> Kind | None:
    """One part of a base."""
    has = _finder(header)
    if has("down_blocks.0.resnets.0.norm1") and has("time_embedding.linear_1"):
        return Kind("a denoiser alone, in diffusers' names", "Give the whole folder it lies in, two levels up.")
    if not has("input_blocks.0.0.weight"):
        if has("encoder.conv_in.weight", "decoder.conv_in.weight"):
            return Kind("a VAE alone", "Name it with model.vae, and a base with model.base.")
        if has("text_model.encoder.layers.0", "transformer.resblocks.0"):
            return Kind("a text encoder alone", _WHOLE_BASE)
    return None


def _other_unet(header: Header) -> Kind | None:
    """UNets in sgm's names, told apart as ComfyUI does: by input channels and by the width of the text they read."""
    prefix = _DENOISER if header.below(_DENOISER) else ""
    entry = header.tensors.get(f"{prefix}input_blocks.0.0.weight")
    if entry is None or len(entry.shape) != 4:
        return None
    match _text_width(header), entry.shape[1]:
        case 768, _:
            return Kind("Stable Diffusion 1 (its denoiser reads text of width 768, SDXL's 2048)", _OTHER_BASE)
        case 1024, _:
            return Kind("Stable Diffusion 2 (its denoiser reads text of width 1024, SDXL's 2048)", _OTHER_BASE)
        case 1280, _:
            return Kind("the SDXL refiner (its denoiser reads text of width 1280, the base's 2048)",
                        "Train on the base; the refiner is for drawing.")  # fmt: skip
        case 2048, 9:
            return Kind("an SDXL checkpoint for inpainting (9 input channels where the base has 4)",
                        "Train on the checkpoint it was made from; the LoRA works with both.")  # fmt: skip
        case 2048, 4:
            return _sdxl_with_something_wrong(header, prefix)
        case width, channels:
            return Kind(f"a UNet with {channels} input channels that reads text of width {width}", _OTHER_BASE)


def _sdxl_with_something_wrong(header: Header, prefix: str) -> Kind:
    missing = [
        part
        for part, names in {
            "first text encoder": "conditioner.embedders.0.transformer.",
            "second text encoder": "conditioner.embedders.1.model.",
        }.items()
        if not header.below(names)
    ]
    if missing:
        return Kind(f"an SDXL denoiser without the {' and the '.join(missing)}", _WHOLE_BASE)
    deepest = f"{prefix}input_blocks.7.1.transformer_blocks.9.attn2.to_k.weight"
    if deepest not in header.tensors:
        return Kind("a smaller relative of SDXL, such as SSD-1B or Vega",
                    "Give it as a folder in the diffusers layout, which says how it is built.")  # fmt: skip
    return Kind("SDXL with layers missing or changed", "Fetch it again, or take the checkpoint it was made from.")


def _text_width(header: Header) -> int | None:
    keys = (entry.shape for name, entry in header.tensors.items() if name.endswith("attn2.to_k.weight"))
    return next((shape[1] for shape in keys if len(shape) == 2), None)


def _finder(header: Header) -> Callable[..., bool]:
    """Whether any tensor's name holds one of some words."""

    def has(*words: str) -> bool:
        return any(word in name for name in header.tensors for word in words)

    return has
