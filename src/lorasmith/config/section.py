"""Owns what every section of a config has in common: frozen, strict, and each field's docstring is its help text."""

from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen group of options; an unknown name is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)


@dataclass(frozen=True)
class OneValuePerFlag:
    """Marks a list whose entries may hold commas, such as prompts: the flag is repeated, never split."""
