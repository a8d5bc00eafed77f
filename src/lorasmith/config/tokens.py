"""Owns which words become new tokens and how their vectors start; knows no tokenizer."""

from typing import Annotated

from pydantic import Field

from lorasmith.config.section import Section


class TokensConfig(Section):
    """Which new words are learnt."""

    enabled: bool = True
    """Pivotal tuning: replace each token abstraction by new tokens and train their vectors until the pivot."""

    abstractions: tuple[str, ...] = ("TOK",)
    """The words in captions and prompts that stand for what is learnt, one per concept."""

    per_abstraction: Annotated[int, Field(ge=1, le=32)] = 2
    """How many new tokens each abstraction becomes."""

    init: tuple[str, ...] = ()
    """Words whose vectors the new tokens start from, one entry per abstraction (`red backpack`); empty: random rows."""

    look_alike: tuple[str, ...] = ()
    """Whom or what the base knows that looks alike, put behind each abstraction in every caption and prompt."""

    keep_norm: bool = True
    """Pull the new rows' spread towards the vocabulary's after each step, while they train."""
