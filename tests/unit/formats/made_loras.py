"""One small LoRA on real SDXL's widths, and the same in every program's spelling."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from lorasmith.formats.weights import ModuleAdapter, Part

RANK, ALPHA = 4, 2.0
PATHS: dict[tuple[Part, str], tuple[int, int]] = {
    ("denoiser", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q"): (640, 640),
    ("denoiser", "down_blocks.2.attentions.1.transformer_blocks.9.attn2.to_k"): (1280, 2048),
    ("denoiser", "mid_block.attentions.0.transformer_blocks.3.attn1.to_out.0"): (1280, 1280),
    ("denoiser", "up_blocks.1.attentions.2.transformer_blocks.1.ff.net.0.proj"): (5120, 640),
    ("denoiser", "up_blocks.0.attentions.1.proj_in"): (1280, 1280),
    ("text_encoder_1", "text_model.encoder.layers.11.self_attn.q_proj"): (768, 768),
    ("text_encoder_2", "text_model.encoder.layers.31.self_attn.out_proj"): (1280, 1280),
}
SGM = {
    "down_blocks.1.attentions.0": "input_blocks.4.1",
    "down_blocks.2.attentions.1": "input_blocks.8.1",
    "mid_block.attentions.0": "middle_block.1",
    "up_blocks.1.attentions.2": "output_blocks.5.1",
    "up_blocks.0.attentions.1": "output_blocks.1.1",
}
Lora = dict[tuple[Part, str], ModuleAdapter]
Spell = Callable[[Mapping[tuple[Part, str], ModuleAdapter]], dict[str, Tensor]]


def a_lora() -> Lora:
    """Adapters whose alpha is half of their rank, not yet folded in."""
    generator = torch.Generator().manual_seed(3)
    return {
        at: ModuleAdapter(
            torch.randn(RANK, inputs, generator=generator), torch.randn(outputs, RANK, generator=generator)
        )
        for at, (outputs, inputs) in PATHS.items()
    }


def sgm(path: str) -> str:
    block = next(block for block in SGM if path.startswith(f"{block}."))
    return SGM[block] + path.removeprefix(block)


def kohya(lora: Lora, *, of_sgm: bool = True, beginning: str = "lora_unet_") -> dict[str, Tensor]:
    parts = {"denoiser": beginning, "text_encoder_1": "lora_te1_", "text_encoder_2": "lora_te2_"}
    tensors: dict[str, Tensor] = {}
    for (part, path), module in lora.items():
        inside = sgm(path) if part == "denoiser" and of_sgm else path
        name = parts[part] + inside.replace(".", "_")
        tensors[f"{name}.lora_down.weight"] = module.down
        tensors[f"{name}.lora_up.weight"] = module.up
        tensors[f"{name}.alpha"] = torch.tensor(ALPHA)
    return tensors


def dotted(
    lora: Lora, beginnings: tuple[str, str, str], down: str, up: str, *, of_sgm: bool = False
) -> dict[str, Tensor]:
    parts = dict(zip(("denoiser", "text_encoder_1", "text_encoder_2"), beginnings, strict=True))
    tensors: dict[str, Tensor] = {}
    for (part, path), module in lora.items():
        name = parts[part] + (sgm(path) if of_sgm and part == "denoiser" else path)
        tensors |= {f"{name}{down}": module.down, f"{name}{up}": module.up, f"{name}.alpha": torch.tensor(ALPHA)}
    return tensors


def processors(lora: Lora, beginning: str) -> dict[str, Tensor]:
    """As diffusers wrote attention's adapters in 2023, and as cog-sdxl still does: scale 1, attention alone."""
    tensors: dict[str, Tensor] = {}
    for (part, path), module in lora.items():
        if part == "denoiser" and ".to_" in path:
            name = beginning + path.removesuffix(".0").replace(".to_", ".processor.to_") + "_lora"
            tensors |= {f"{name}.down.weight": module.down, f"{name}.up.weight": module.up * (ALPHA / RANK)}
    return tensors


SPELLINGS: dict[str, Spell] = {
    "kohya": lambda lora: kohya(dict(lora)),
    "kohya-diffusers": lambda lora: kohya(dict(lora), of_sgm=False),
    "lycoris": lambda lora: kohya(dict(lora), of_sgm=False, beginning="lycoris_"),
    "diffusers": lambda lora: dotted(
        dict(lora), ("unet.", "text_encoder.", "text_encoder_2."), ".lora_A.weight", ".lora_B.weight"
    ),
    "diffusers-old": lambda lora: dotted(
        dict(lora), ("unet.", "text_encoder.", "text_encoder_2."), ".lora.down.weight", ".lora.up.weight"
    ),
    "peft": lambda lora: dotted(
        dict(lora),
        ("base_model.model.", "text_encoder.base_model.model.", "text_encoder_2.base_model.model."),
        ".lora_A.weight",
        ".lora_B.weight",
    ),
    "comfyui": lambda lora: dotted(
        dict(lora),
        ("diffusion_model.", "text_encoders.clip_l.transformer.", "text_encoders.clip_g.transformer."),
        ".lora_up.weight".replace("up", "down"),
        ".lora_up.weight",
        of_sgm=True,
    ),
}
