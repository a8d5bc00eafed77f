"""Owns which LoRA files an export has: the whole, blocks alone, a DoRA baked; and who reads each. Writes none."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lorasmith.export.file_names import DIFFUSERS_FILE, beside, kohya_file
from lorasmith.export.info import ExportInfo
from lorasmith.export.weights import AdapterWeights, BakedAdapters


@dataclass(frozen=True)
class AdapterFile:
    """One LoRA file to be: what is in it, in whose spelling, and who reads it.

    `role` names what its one block holds, such as `style`; `baked` says what was lost, in a DoRA's plain stand-in.
    """

    name: str
    weights: AdapterWeights
    spelling: Literal["diffusers", "kohya"]
    readers: tuple[str, ...]
    role: str | None = None
    baked: BakedAdapters | None = None


def adapter_files(info: ExportInfo, weights: AdapterWeights) -> tuple[AdapterFile, ...]:
    """Every LoRA file of an export; none when only new tokens were trained."""
    if not weights.parts:
        return ()
    return (*_whole(info.name, weights), *_alone(info.name, weights))


def _whole(name: str, weights: AdapterWeights) -> Iterator[AdapterFile]:
    yield AdapterFile(DIFFUSERS_FILE, weights, "diffusers", ("diffusers", "lorasmith"))
    yield AdapterFile(kohya_file(name), weights, "kohya", _webuis(weights))
    yield from _baked(beside(name, "baked"), weights)


def _alone(name: str, weights: AdapterWeights) -> Iterator[AdapterFile]:
    """Each block that has a role, by itself."""
    for role, block in weights.roles.items():
        inside = weights.inside(block)
        yield AdapterFile(beside(name, role, "diffusers"), inside, "diffusers", ("diffusers",), role)
        yield AdapterFile(beside(name, role), inside, "kohya", _webuis(weights), role)
        yield from _baked(beside(name, role, "baked"), inside, role)


def _baked(name: str, weights: AdapterWeights, role: str | None = None) -> Iterator[AdapterFile]:
    plain = weights.as_baked()
    if plain is not None:
        readers = ("A1111", "Forge", "ComfyUI", "diffusers")
        yield AdapterFile(name, plain, "kohya", readers, role, weights.baked)


def _webuis(weights: AdapterWeights) -> tuple[str, ...]:
    """A1111 knows other magnitudes than a DoRA's, and draws it wrong."""
    return ("Forge", "ComfyUI") if weights.kind == "dora" else ("A1111", "Forge", "ComfyUI")
