"""Owns reading exported files back, ours or others', as adapters or rows; refuses pickles and broken files."""

# safetensors is only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from safetensors import SafetensorError, safe_open
from torch import Tensor

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.export.diffusers_format import read_diffusers
from lorasmith.export.embeddings_format import FIRST, SECOND
from lorasmith.export.kohya_format import read_kohya
from lorasmith.export.kohya_names import PREFIXES
from lorasmith.export.weights import ModuleAdapter, Part

FileFormat = Literal["diffusers", "kohya", "embeddings"]
_PICKLE_STARTS = (b"PK\x03\x04", b"\x80")


@dataclass(frozen=True)
class WeightsFile:
    """A safetensors file's tensors and header, and which format their names are of."""

    path: Path
    format: FileFormat
    tensors: Mapping[str, Tensor]
    header: Mapping[str, str]


def open_weights(path: Path) -> WeightsFile:
    """Read a LoRA or embeddings file whole; DataError when it is missing, broken, a pickle or something else."""
    _refuse_pickle(path)
    try:
        with safe_open(path, framework="pt") as file:
            opened: Any = file
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118  # not a mapping
            header = dict(opened.metadata() or {})
    except SafetensorError as broken:
        raise DataError(
            f"{shown(path)} is not a whole safetensors file: {shown(str(broken))}.", remedy="Export or copy it again."
        ) from broken
    return WeightsFile(path, _format_of(path, tensors), tensors, header)


def adapters_in(file: WeightsFile, *, layers_per_block: int = 2) -> dict[Part, dict[str, ModuleAdapter]]:
    """Each part's adapters with their scale folded in, as readers of that format see them."""
    match file.format:
        case "diffusers":
            return read_diffusers(file.tensors, file.header)
        case "kohya":
            return read_kohya(file.tensors, layers_per_block=layers_per_block)
        case "embeddings":
            return {}
        case _:
            assert_never(file.format)


def _refuse_pickle(path: Path) -> None:
    """DataError for what is missing, and for PyTorch's own files, which can run anything when they are opened."""
    try:
        with path.open("rb") as file:
            start = file.read(9)
    except OSError as failure:
        raise DataError(f"{shown(path)} cannot be read: {failure.strerror}.") from failure
    # A safetensors file begins with its header's length, whose low byte may be any; its ninth byte opens the header.
    if start[8:] != b"{" and start.startswith(_PICKLE_STARTS):
        raise DataError(
            f"{shown(path)} is a pickle, which lorasmith never opens: it could run any program.",
            remedy="Get the file as .safetensors.",
        )


def _format_of(path: Path, tensors: Mapping[str, Tensor]) -> FileFormat:
    """The format that the tensors' names are of."""
    names = tuple(tensors)
    if names and all(name.startswith(tuple(PREFIXES.values())) for name in names):
        return "kohya"
    if names and all(".lora_" in name for name in names):
        return "diffusers"
    if {FIRST, SECOND} <= set(names):
        return "embeddings"
    some = ", ".join(shown(name, limit=60) for name in names[:3]) or "none"
    raise DataError(
        f"{shown(path)} is neither a LoRA nor an embeddings file of SDXL (its tensors: {some}).",
        remedy="Name a file from an export folder.",
    )
