"""Owns which base is trained on and how its weights are found; opens nothing."""

from typing import Literal

from lorasmith.config.section import Section


class ModelConfig(Section):
    """Onto which base."""

    base: str = "embedded"
    """The base: `embedded` (the small one that ships with lorasmith), a folder in the diffusers layout, a checkpoint in
    one `.safetensors` file, or a hub id."""

    revision: str | None = None
    """Branch, tag or commit of a hub id; None means its main branch."""

    variant: str | None = None
    """Weight variant in the base's folder or repository, such as `fp16`; None means the plain files. A VAE named beside
    the base is taken plain where it has no such variant."""

    vae: str | None = None
    """Another VAE to use: a folder, a `.safetensors` file or a hub id such as `madebyollin/sdxl-vae-fp16-fix`; None
    means the base's own."""

    prediction: Literal["auto", "epsilon", "v_prediction"] = "auto"
    """What the denoiser predicts; `auto` reads it from the base's scheduler, or a single file's markers."""
