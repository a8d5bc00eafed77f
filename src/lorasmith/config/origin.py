"""Owns where a value was said: each resolved option knows its origin; decides nothing."""

from dataclasses import dataclass
from typing import Literal

OriginKind = Literal["default", "reference", "recipe", "file", "flag"]


@dataclass(frozen=True)
class Origin:
    """Who said a value: `label` is what people read (`recipe style`, `wolf.toml:14`, `--adapter.rank`)."""

    kind: OriginKind
    label: str

    def __str__(self) -> str:
        """The label."""
        return self.label


DEFAULT = Origin("default", "default")
REFERENCE_DEFAULT = Origin("reference", "default of the reference script")


@dataclass(frozen=True)
class Setting:
    """One value for the option at `path` (`adapter.rank`; a section such as `prior` takes True or False)."""

    path: str
    value: object
    origin: Origin
