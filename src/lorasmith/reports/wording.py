"""Owns how numbers and names are put to people in a report; computes nothing else."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

_PARTS: Final = {
    "denoiser": "denoiser",
    "new_tokens_1": "new tokens 1",
    "new_tokens_2": "new tokens 2",
    "text_encoder_1": "text encoder 1",
    "text_encoder_2": "text encoder 2",
}


def part_name(part: str) -> str:
    """A part as people read it."""
    return _PARTS.get(part, part)


def bytes_words(size: float) -> str:
    """1536 → 1.5 KB."""
    for unit in ("B", "KB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    raise AssertionError("the last unit always fits")


def duration_words(seconds: float) -> str:
    """3723 → 1 h 2 min."""
    if not math.isfinite(seconds):
        return "unknown"
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.0f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number_words(value: float) -> str:
    """A number in three digits, or none."""
    return f"{value:.3g}" if math.isfinite(value) else "none"


def flattened(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A tree of options as dotted names and values, in order."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flattened(cast(Mapping[str, Any], value), f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value_words(value)


def value_words(value: object) -> str:
    """Plain data as people read it."""
    match value:
        case None:
            return "none"
        case bool():
            return "yes" if value else "no"
        case str():
            return value
        case float():
            return f"{value:.6g}"
        case list() | tuple():
            items = cast(Sequence[object], value)
            return ", ".join(value_words(item) for item in items) or "none"
        case _:
            return str(value)


def joined(words: Iterable[str]) -> str:
    """a, b and c."""
    *first, last = [*words] or ["none"]
    return f"{', '.join(first)} and {last}" if first else last
