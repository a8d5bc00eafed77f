"""Owns how much capacity is trained and where it sits; knows no peft and no base's blocks (the plan does)."""

from typing import Annotated, Final, Literal

from pydantic import Field, field_validator

from lorasmith.config.section import Section

Rank = Annotated[int, Field(ge=1, le=1024)]
Targets = Literal["attention", "attention+feed-forward"]

CONTENT_BLOCK: Final = "up_blocks.0.attentions.0"
STYLE_BLOCK: Final = "up_blocks.0.attentions.1"
"""Where B-LoRA (arXiv 2403.14572, section 4) found SDXL to keep what is shown and how."""
_SPOKEN_PREFIXES = ("unet.", "denoiser.")


class AdapterConfig(Section):
    """With how much capacity."""

    kind: Literal["lora", "dora"] = "lora"
    """LoRA, or DoRA (weight-decomposed, arXiv 2402.09353), on every part that gets an adapter."""

    rank: Rank = 16
    """Rank of the denoiser's adapter."""

    alpha: Annotated[float, Field(gt=0)] | None = None
    """Scale numerator: the adapter's effect is alpha ÷ rank; None means alpha = rank."""

    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Share of the adapter's inputs dropped while training."""

    targets: Targets | None = None
    """Which linear layers of the denoiser's transformer blocks get an adapter; None means all of these, and attention
    alone for B-LoRA."""

    blocks: tuple[str, ...] = ()
    """The denoiser's blocks that get an adapter, such as `mid_block,up_blocks.0.attentions.1`; empty means all."""

    block_ranks: dict[str, Rank] = Field(default=dict[str, int]())
    """Blocks with a rank of their own, such as `mid_block=32,up_blocks.0=8`; alpha ÷ rank stays as it is elsewhere."""

    b_lora: bool = False
    """Train the content block and the style block alone and export each by itself too (B-LoRA, arXiv 2403.14572)."""

    text_encoders: bool = False
    """Also train adapters on the attention of both text encoders."""

    text_encoder_rank: Rank | None = None
    """Rank of the text encoders' adapters; None means the denoiser's rank."""

    @property
    def chosen_targets(self) -> Targets:
        """The layers that get an adapter. B-LoRA's blocks were found, and its files are, with attention alone."""
        return self.targets or ("attention" if self.b_lora else "attention+feed-forward")

    @property
    def chosen_blocks(self) -> tuple[str, ...]:
        """The denoiser's blocks that get an adapter; none means all."""
        return (CONTENT_BLOCK, STYLE_BLOCK) if self.b_lora else self.blocks

    @property
    def roles(self) -> dict[str, str]:
        """The blocks that are exported alone as well, by what they hold."""
        return {"content": CONTENT_BLOCK, "style": STYLE_BLOCK} if self.b_lora else {}

    @field_validator("blocks")
    @classmethod
    def blocks_are_plain_names(cls, blocks: tuple[str, ...]) -> tuple[str, ...]:
        """People paste names with the part in front, as other programs write them."""
        return tuple(dict.fromkeys(_plain(block) for block in blocks))

    @field_validator("block_ranks")
    @classmethod
    def ranked_blocks_are_plain_names(cls, ranks: dict[str, int]) -> dict[str, int]:
        """The same for blocks with a rank, none of which may be named twice."""
        plain = {_plain(block): rank for block, rank in ranks.items()}
        if len(plain) < len(ranks):
            raise ValueError("must name each block once")
        return plain


def _plain(block: str) -> str:
    """A block's name without the denoiser's in front; the first component of any other name stays."""
    name = block.strip().strip(".")
    for prefix in _SPOKEN_PREFIXES:
        name = name.removeprefix(prefix)
    if not name or any(character.isspace() or not character.isprintable() for character in name):
        raise ValueError(f"must hold names of blocks such as up_blocks.0.attentions.1, not {block!r}")
    return name
