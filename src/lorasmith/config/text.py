"""Owns how prompts are read by the base's text encoders; knows no tokenizer."""

from typing import Annotated, Literal

from pydantic import Field

from lorasmith.config.section import Section

LongPrompts = Literal["cut", "chunks"]


class TextConfig(Section):
    """How captions and prompts are read, in training and for every picture that is drawn."""

    clip_skip: Annotated[int, Field(ge=0, le=30)] = 0
    """Layers of both text encoders to leave out besides the last, which SDXL never reads; draw with the same number."""

    long_prompts: LongPrompts = "cut"
    """What to do past the 75 tokens that are read at once: `cut` leaves them out and says so, `chunks` reads on."""
