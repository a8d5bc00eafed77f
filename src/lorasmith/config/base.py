"""Owns which base is trained on and how its weights are found; opens nothing."""

from typing import Literal

from lorasmith.config.section import Section


class ModelConfig(Section):
    """Onto which base."""

    base: str = "embedded"
    """The base: `embedded` (the small one that ships with lorasmith), a folder in the diffusers layout, or a hub id."""

    revision: str | None = None
    """Branch, tag or commit of a hub id; None means its main branch."""

    variant: str | None = None
    """Weight variant in the base's folder, such as `fp16`; None means the plain files."""

    vae: str | None = None
    """Another VAE to use: a folder or hub id such as `madebyollin/sdxl-vae-fp16-fix`; None means the base's own."""

    prediction: Literal["auto", "epsilon", "v_prediction"] = "auto"
    """What the denoiser predicts; `auto` reads it from the base's scheduler."""
