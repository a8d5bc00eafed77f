"""Owns the adapters in an opened file, whatever its spelling; refuses halves, and methods that are no LoRA."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.diffusers_format import SaidAlphas, alphas_said
from lorasmith.formats.embeddings_format import is_embedding_key
from lorasmith.formats.families import family_of
from lorasmith.formats.keys import Key, Piece, other_method, read_key
from lorasmith.formats.opening import WeightsFile
from lorasmith.formats.weights import MagnitudeAxis, ModuleAdapter, Part

_SDXLS = 2
_DOWN_NUMBER = re.compile(r"input_blocks[._](\d+)[._]1[._]")
_PLACE = re.compile(r"(down|up)_blocks[._]\d+[._]attentions[._](\d+)[._]")


@dataclass(frozen=True)
class FileModule:
    """One module's adapter as a file has it: its tensors by piece, and the keys that they stand under.

    `alpha` is what the file says of it, in a tensor or in its header; None where it says nothing.
    """

    part: Part
    path: str
    pieces: Mapping[Piece, Tensor]
    keys: Mapping[Piece, Key]
    alpha: float | None

    @property
    def name(self) -> str:
        """The module's name as it is spelled in the file."""
        return next(iter(self.keys.values())).name

    @property
    def rank(self) -> int:
        """The adapter's rank."""
        return len(self.pieces["down"])

    @property
    def scale(self) -> float:
        """alpha ÷ rank; 1 where no alpha is said, as all readers have it."""
        return 1.0 if self.alpha is None else self.alpha / self.rank

    def adapter(self, *, scale: float | None = None) -> ModuleAdapter:
        """In memory, its scale (or another) folded in; a Tucker core (`lora_mid`) is folded into `down`, exactly."""
        down, up = self.pieces["down"].float(), self.pieces["up"].float().flatten(1)
        if "mid" in self.pieces:
            down = torch.einsum("mnkl,nj->mjkl", self.pieces["mid"].float(), down.flatten(1))
        magnitude, axis = self._magnitude(len(up), down)
        return ModuleAdapter(down, up, magnitude, axis).scaled(self.scale if scale is None else scale)

    def _magnitude(self, outputs: int, down: Tensor) -> tuple[Tensor | None, MagnitudeAxis]:
        """The magnitude as a vector, and its axis by its shape: bare vectors are peft's, one number for each output."""
        found = self.pieces.get("magnitude")
        if found is None:
            return None, "output"
        inputs, shape = down.shape[1], tuple(found.shape)
        is_kohyas = self.keys["magnitude"].ending == ".dora_scale"
        if is_kohyas and found.ndim > 1 and shape[:2] == (1, inputs) and found.numel() == inputs:
            return found.float().flatten(), "input"
        on_outputs = found.ndim == 1 or shape[0] == outputs or (not is_kohyas and shape[:2] == (1, outputs))
        if on_outputs and found.numel() == outputs:
            return found.float().flatten(), "output"
        raise DataError(
            f"{shown(self.name)}: its magnitudes are {shape}, not one number for each of its {outputs} rows or, "
            f"as [1, {inputs}], for each of its columns."
        )


@dataclass
class _Gathered:
    """A module's tensors while the file is gone through."""

    pieces: dict[Piece, Tensor] = field(default_factory=dict[Piece, Tensor])
    keys: dict[Piece, Key] = field(default_factory=dict[Piece, Key])


def adapters_in(file: WeightsFile, *, layers_per_block: int | None = None) -> dict[Part, dict[str, ModuleAdapter]]:
    """Each part's adapters by module path with their scale folded in, as readers of that format see them."""
    found: dict[Part, dict[str, ModuleAdapter]] = {}
    for module in modules_in(file, layers_per_block=layers_per_block):
        found.setdefault(module.part, {})[module.path] = module.adapter()
    return found


def modules_in(file: WeightsFile, *, layers_per_block: int | None = None) -> tuple[FileModule, ...]:
    """Every module's adapter as it is in the file; DataError for halves, strangers' tensors and other methods.

    Kohya's block numbers count ResNets, so names depend on how many a level has; None means: told by the file.
    """
    layers_per_block = layers_per_block or layers_per_block_in(file)
    gathered: dict[tuple[Part, str], _Gathered] = {}
    for text, tensor in file.tensors.items():
        if is_embedding_key(text):
            continue
        key = _key(file, text, layers_per_block)
        module = gathered.setdefault((key.part, key.path), _Gathered())
        if key.piece in module.pieces:
            raise DataError(f"{shown(file.path)} has two adapters on {key.part}.{key.path}, in two spellings.")
        module.pieces[key.piece], module.keys[key.piece] = tensor, key
    said = alphas_said(file.header)
    return tuple(_module(part, path, found, said.get(part)) for (part, path), found in gathered.items())


def layers_per_block_in(file: WeightsFile) -> int:
    """ResNets a level of the denoiser: SDXL's 2, unless widths and names are those of a smaller or larger base."""
    if family_of({name: tuple(tensor.shape) for name, tensor in file.tensors.items()}).name == "SDXL":
        return _SDXLS
    numbers = {int(match[1]) - 1 for name in file.tensors if (match := _DOWN_NUMBER.search(name))}
    if numbers:  # a level's last place is its downsampler's, which has no attention
        fitting = (count for count in (_SDXLS, 1, 3, 4) if all(at % (count + 1) < count for at in numbers))
        return next(fitting, _SDXLS)
    places = [int(match[2]) + (match[1] == "down") for name in file.tensors if (match := _PLACE.search(name))]
    return max(places, default=_SDXLS) or _SDXLS


def _key(file: WeightsFile, text: str, layers_per_block: int) -> Key:
    key = None if other_method(text) else read_key(text, layers_per_block=layers_per_block)
    if key is None:
        method = other_method(text)
        what = f"is a tensor of {method}" if method else "is no tensor of a LoRA on SDXL"
        raise DataError(
            f"{shown(file.path)}: {shown(text)} {what}.",
            remedy="lorasmith reads LoRA and DoRA of SDXL, in every program's spelling, and reads a file whole or not.",
        )
    return key


def _module(part: Part, path: str, found: _Gathered, said: SaidAlphas | None) -> FileModule:
    pieces, keys = found.pieces, found.keys
    if "down" not in pieces or "up" not in pieces:
        raise DataError(f"{shown(next(iter(keys.values())).name)} has one half of an adapter only.")
    down, up = pieces["down"], pieces["up"]
    if down.ndim not in (2, 4) or up.ndim not in (2, 4) or up.shape[1] != len(down) or up[0, 0].numel() != 1:
        shapes = f"{tuple(down.shape)} and {tuple(up.shape)}"
        raise DataError(f"{shown(keys['down'].name)} has halves of {shapes}, which do not make one adapter.")
    mid = pieces.get("mid")
    if mid is not None and (mid.ndim != 4 or mid.shape[:2] != (len(down), len(down))):
        raise DataError(f"{shown(keys['mid'].name)} has a core of {tuple(mid.shape)} at rank {len(down)}.")
    return FileModule(part, path, pieces, keys, _alpha(path, pieces, said))


def _alpha(path: str, pieces: Mapping[Piece, Tensor], said: SaidAlphas | None) -> float | None:
    """A tensor's word goes before the header's, since it is the module's own."""
    if "alpha" in pieces:
        if pieces["alpha"].numel() != 1:
            raise DataError(f"{shown(path)} has an alpha of {tuple(pieces['alpha'].shape)}, not one number.")
        return float(pieces["alpha"].item())
    if said is None or (said.usual is None and not said.patterns):
        return None
    return said.of(path, rank=len(pieces["down"]))
