"""Owns how one option lists several things; knows no option."""

from collections.abc import Sequence


def listed(said: Sequence[str] | None) -> tuple[str, ...]:
    """All that was said, with commas (`--seed 1,2,3`) or by repeating the option, in that order."""
    return tuple(part.strip() for text in said or () for part in text.split(","))
