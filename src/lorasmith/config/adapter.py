"""Owns how much capacity is trained and where it sits; knows no peft."""

from typing import Annotated, Literal

from pydantic import Field

from lorasmith.config.section import Section


class AdapterConfig(Section):
    """With how much capacity."""

    kind: Literal["lora", "dora"] = "lora"
    """LoRA, or DoRA (weight-decomposed, arXiv 2402.09353)."""

    rank: Annotated[int, Field(ge=1, le=1024)] = 16
    """Rank of the denoiser's adapter."""

    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale numerator: the adapter's effect is alpha ÷ rank; None means alpha = rank."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped while training."""

    targets: Literal["attention", "attention+feed-forward"] = "attention"
    """Which linear layers of the denoiser's transformer blocks get an adapter."""

    text_encoders: bool = False
    """Also train LoRA on the attention of both text encoders."""

    text_encoder_rank: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Rank of the text encoders' adapters; None means the denoiser's rank."""
