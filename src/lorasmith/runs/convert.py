"""Owns rewriting LoRA and embeddings files for other programs, each compared with its source before it is written.

What is compared is every layer's change to its weight, read back from the bytes that are to be written. Refuses to
write over a file, to drop what is in one, and to write what differs.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from torch import nn

from lorasmith.atomic import write_bytes
from lorasmith.config.base import ModelConfig
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.export.bake import bake
from lorasmith.export.file_names import stem_of, tame
from lorasmith.export.metadata import adapter_metadata
from lorasmith.formats.adapters import FileModule, adapters_in, layers_per_block_in, modules_in
from lorasmith.formats.changes import difference, resized
from lorasmith.formats.embeddings_format import FoundEmbedding, embeddings_in
from lorasmith.formats.families import family_of
from lorasmith.formats.opening import WeightsFile, open_bytes, open_sound_weights, recognised
from lorasmith.formats.targets import Content, Target, bytes_of, holds_embeddings, refuse_what_does_not_fit
from lorasmith.formats.weights import AdapterWeights, BakingLoss, ModuleAdapter, Part, PartAdapter
from lorasmith.models.sdxl.components import open_components

Precision = Literal["fp32", "fp16", "bf16"]
_DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
_KEPT_METADATA = ("ss_", "modelspec.", "lorasmith.")
_WITH_FOLDERS = ("dirs", "datasets", "dir", "path")
"""Endings of kohya's metadata that name folders of the machine where it trained."""


@dataclass(frozen=True)
class ConvertRequest:
    """What is to become what. `out` may name no file that is there.

    `rank` and `energy` resize by singular values; `strength` is folded in; `bake` makes a DoRA plain with the weights
    of `base`. Embeddings inside of the source go to files of their own with `split`; those in `join` are put in.
    """

    source: Path
    out: Path
    to: Target
    dtype: Precision = "fp32"
    rank: int | None = None
    energy: float | None = None
    strength: float = 1.0
    bake: bool = False
    base: str | None = None
    split: bool = False
    join: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """What was written: the files, the layers compared, and the largest difference found, as a share of a change.

    `lost` is what baking or resizing lost of all changes together, as a share; None where neither was asked for.
    """

    files: tuple[Path, ...]
    layers: int
    largest_difference: float
    lost: float | None
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class _Shrunk:
    """Adapters as they are to be, and what making them so lost of each."""

    weights: AdapterWeights
    losses: tuple[BakingLoss, ...] = ()


def convert(request: ConvertRequest) -> Conversion:
    """Rewrite a file for another program; ConfigError or DataError, and nothing written, when that loses anything."""
    _check(request)
    source = _opened(request.source)
    embeddings = (*_named(source, request.source), *_to_join(request.join))
    _refuse_dropping(request, embeddings)
    made = _made(request, source)
    layers_per_block = layers_per_block_in(source)
    content = Content(
        weights=replace(_in_precision(made.weights, _DTYPES[request.dtype]), layers_per_block=layers_per_block),
        embeddings=embeddings if holds_embeddings(request.to) else (),
        metadata=_metadata(request, source, made.weights),
        tokens=source.tokens,
    )
    refuse_what_does_not_fit(request.to, content)
    plans = {request.out: bytes_of(request.to, content)} | (_split(request, embeddings) if request.split else {})
    made_whole = replace(made.weights, layers_per_block=layers_per_block)
    largest = _compared(plans[request.out], request, made_whole, content.embeddings)
    for path, written in plans.items():
        write_bytes(path, written)
    modules = [module for part in made.weights.parts.values() for module in part.modules.values()]
    return Conversion(
        files=tuple(plans),
        layers=0 if request.to == "embeddings" else len(modules),
        largest_difference=largest,
        lost=_lost(made.losses),
        ranks=tuple(sorted({module.rank for module in modules})),
    )


def _check(request: ConvertRequest) -> None:
    """ConfigError for values that make no sense, before anything is opened."""
    if request.energy is not None and not 0 < request.energy <= 1:
        raise ConfigError(f"an energy of {request.energy:g} is no share", where="--energy", remedy="Use 0.99, say.")
    if request.rank is not None and request.rank < 1:
        raise ConfigError(f"there is no rank {request.rank}", where="--rank", remedy="Use 1 or more.")
    if not math.isfinite(request.strength) or request.strength == 0:
        raise ConfigError(
            f"a strength of {request.strength:g} leaves nothing", where="--strength", remedy="Use 0.8, say."
        )
    if request.bake and request.energy is not None:
        raise ConfigError("baking resizes to a rank, not by energy", where="--energy", remedy="Use --rank.")
    if request.bake and request.base is None:
        raise ConfigError("baking needs the weights of the base", where="--bake", remedy="Name it with --base.")


def _opened(path: Path) -> WeightsFile:
    """The source; DataError for one of another family than SDXL."""
    file = open_sound_weights(path)
    family = family_of({name: tuple(tensor.shape) for name, tensor in file.tensors.items()})
    if not family.may_be_sdxl:
        raise DataError(
            f"{shown(path)} is for {family.name} ({shown(family.told_by)}), and lorasmith converts files for SDXL.",
            remedy="Name a file that was trained on SDXL or a base made from it.",
        )
    return file


def _named(file: WeightsFile, path: Path) -> tuple[FoundEmbedding, ...]:
    """A file's embeddings with names: their own, a cog archive's word, or the file's."""
    found = embeddings_in(file.tensors)
    alone = next(iter(file.tokens), None) if len(file.tokens) == 1 else None
    return tuple(replace(one, name=one.name or alone or _name_of(path)) for one in found)


def _name_of(path: Path) -> str:
    """What users would type for a file, without what bundles cannot hold."""
    return tame(stem_of(path.name)).replace(".", "-")


def _to_join(paths: Sequence[Path]) -> tuple[FoundEmbedding, ...]:
    joined: list[FoundEmbedding] = []
    for path in paths:
        found = _named(_opened(path), path)
        if not found:
            raise DataError(f"{shown(path)} holds no embedding.", where="--join", remedy="Name an embeddings file.")
        joined += found
    return tuple(joined)


def _refuse_dropping(request: ConvertRequest, embeddings: Sequence[FoundEmbedding]) -> None:
    """ConfigError where embeddings would be lost, files written over, or names taken twice."""
    if embeddings and not holds_embeddings(request.to) and not request.split:
        raise ConfigError(
            f"{shown(request.source)} holds {len(embeddings)} embeddings, and files for {request.to} hold none",
            remedy="Write them to files of their own with --split.",
        )
    names = Counter(one.name for one in embeddings)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None and request.to != "embeddings":
        raise ConfigError(f"two embeddings are called {shown(twice or '')}", remedy="Rename one of the files.")
    split = _split_paths(request, embeddings) if request.split else ()
    for path in (request.out, *split):
        if path.exists():
            raise ConfigError(f"{path} is there already", remedy="Name another file, or remove it first.")


def _made(request: ConvertRequest, source: WeightsFile) -> _Shrunk:
    """The adapters as they are to be, in fp32."""
    weights = _weights(modules_in(source), request)
    if weights.kind == "dora" and not request.bake and (request.strength != 1 or request.rank or request.energy):
        raise ConfigError(
            "a DoRA's strength and rank cannot be changed as it is: its magnitudes are of the merged weight",
            remedy="Bake it to a plain LoRA (--bake --base BASE).",
        )
    if request.bake and weights.kind == "dora":
        baked = bake(weights, _base_parts(request), rank=request.rank)
        losses = tuple(baked.losses.values())
        made = _Shrunk(AdapterWeights(baked.parts), losses)
    elif request.rank is not None or request.energy is not None:
        made = _resized(weights, request)
    else:
        made = _Shrunk(weights)
    return replace(made, weights=_at_strength(made.weights, request.strength))


def _weights(modules: Sequence[FileModule], request: ConvertRequest) -> AdapterWeights:
    """Adapters by part; alphas stay what they were where a part has one scale, else they are folded in."""
    parts: dict[Part, list[FileModule]] = {}
    for module in modules:
        parts.setdefault(module.part, []).append(module)
    if not parts and request.to not in ("embeddings", "cog", "a1111-bundle"):
        raise ConfigError(f"{shown(request.source)} holds no LoRA", remedy="Use --to embeddings for embeddings alone.")
    return AdapterWeights({part: _part(members) for part, members in parts.items()})


def _part(modules: Sequence[FileModule]) -> PartAdapter:
    scales = {module.scale for module in modules}
    (rank, _), *_ = Counter(module.rank for module in modules).most_common(1)
    scale = scales.pop() if len(scales) == 1 else None
    adapters = {module.path: module.adapter(scale=1.0 if scale is not None else None) for module in modules}
    is_dora = any(adapter.magnitude is not None for adapter in adapters.values())
    return PartAdapter(adapters, rank, rank * (1.0 if scale is None else scale), "dora" if is_dora else "lora")


def _base_parts(request: ConvertRequest) -> Mapping[Part, nn.Module]:
    """The base's parts, in fp32 as baking computes."""
    opened = open_components(ModelConfig(base=request.base or ""), dtype=torch.float32)
    return {
        "denoiser": opened.unet,
        "text_encoder_1": _as_named(opened.text_encoder_1),
        "text_encoder_2": _as_named(opened.text_encoder_2),
    }


def _as_named(encoder: nn.Module) -> nn.Module:
    """A text encoder under the names with `text_model.`, whatever the version of transformers calls its modules."""
    return encoder if hasattr(encoder, "text_model") else nn.ModuleDict({"text_model": encoder})


def _resized(weights: AdapterWeights, request: ConvertRequest) -> _Shrunk:
    parts: dict[Part, PartAdapter] = {}
    losses: list[BakingLoss] = []
    for part, adapter in weights.parts.items():
        small = {
            path: resized(module.scaled(adapter.scale), rank=request.rank, energy=request.energy)
            for path, module in adapter.modules.items()
        }
        (rank, _), *_ = Counter(one.adapter.rank for one in small.values()).most_common(1)
        parts[part] = PartAdapter({path: one.adapter for path, one in small.items()}, rank, float(rank))
        losses += [one.loss for one in small.values()]
    return _Shrunk(AdapterWeights(parts), tuple(losses))


def _at_strength(weights: AdapterWeights, strength: float) -> AdapterWeights:
    if strength == 1:
        return weights
    return AdapterWeights(
        {
            part: replace(adapter, modules={path: one.scaled(strength) for path, one in adapter.modules.items()})
            for part, adapter in weights.parts.items()
        }
    )


def _in_precision(weights: AdapterWeights, dtype: torch.dtype) -> AdapterWeights:
    return AdapterWeights(
        {
            part: replace(adapter, modules={path: one.to(dtype) for path, one in adapter.modules.items()})
            for part, adapter in weights.parts.items()
        }
    )


def _metadata(request: ConvertRequest, source: WeightsFile, weights: AdapterWeights) -> dict[str, str]:
    """What the source says of its training, without folders, and what is so of the new file."""
    if request.to in ("diffusers", "cog"):
        return {}
    kept = {
        name: value
        for name, value in source.header.items()
        if name.startswith(_KEPT_METADATA) and not name.endswith(_WITH_FOLDERS)
    }
    if request.to == "embeddings":
        return kept | {"modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion"}
    spec = {"modelspec.sai_model_spec": "1.0.1", "modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}
    sizes = adapter_metadata(weights) if weights.parts else {}
    return {**spec, **kept, **sizes, "ss_output_name": _name_of(request.out)}


def _split_paths(request: ConvertRequest, embeddings: Sequence[FoundEmbedding]) -> tuple[Path, ...]:
    """One file beside the new one for each embedding."""
    stem = tame(stem_of(request.out.name))
    return tuple(
        request.out.with_name(
            f"{stem}_emb.safetensors" if len(embeddings) == 1 else f"{tame(one.name or '')}.safetensors"
        )
        for one in embeddings
    )


def _split(request: ConvertRequest, embeddings: Sequence[FoundEmbedding]) -> dict[Path, bytes]:
    if not embeddings:
        raise ConfigError(f"{shown(request.source)} holds no embedding to split off", where="--split")
    paths = _split_paths(request, embeddings)
    if len(set(paths)) != len(paths) or request.out in paths:
        raise ConfigError("two files would have one name", remedy="Name another output file.")
    metadata = {"modelspec.architecture": "stable-diffusion-xl-v1-base/textual-inversion"}
    return {
        path: bytes_of("embeddings", Content(AdapterWeights({}), (one,), metadata))
        for path, one in zip(paths, embeddings, strict=True)
    }


def _compared(
    content: bytes, request: ConvertRequest, weights: AdapterWeights, embeddings: Sequence[FoundEmbedding]
) -> float:
    """Read the bytes back as any file and compare every layer and row; DataError above what rounding explains."""
    found_file = recognised(open_bytes(content, request.out))
    if not _same_rows(embeddings_in(found_file.tensors), embeddings):
        raise DataError(f"{shown(request.out)} would not hold the embeddings of its source.")
    found = {} if request.to == "embeddings" else adapters_in(found_file, layers_per_block=weights.layers_per_block)
    wanted: dict[Part, dict[str, ModuleAdapter]] = {} if request.to == "embeddings" else {
        part: {path: module.scaled(adapter.scale) for path, module in adapter.modules.items()}
        for part, adapter in weights.parts.items()
    }  # fmt: skip
    if {part: set(modules) for part, modules in found.items()} != {part: set(one) for part, one in wanted.items()}:
        raise DataError(f"{shown(request.out)} would not hold the layers of its source.")
    allowed = max(1e-6, 2 * torch.finfo(_DTYPES[request.dtype]).eps)
    shares = [
        _apart(f"{part}.{path}", (module, found[part][path]), allowed)
        for part, modules in wanted.items()
        for path, module in modules.items()
    ]
    return max(shares, default=0.0)


def _same_rows(found: Sequence[FoundEmbedding], wanted: Sequence[FoundEmbedding]) -> bool:
    """Whether all rows are there to the last bit, by name in bundles and in one piece elsewhere."""
    if len(found) != 1 or found[0].name is not None:
        rows, others = ({one.name: (one.first, one.second) for one in side} for side in (found, wanted))
        return rows.keys() == others.keys() and all(
            torch.equal(first, second) for name in rows for first, second in zip(rows[name], others[name], strict=True)
        )
    return bool(wanted) and all(
        torch.equal(one, torch.cat([*rows]))
        for one, rows in (
            (found[0].first, (each.first for each in wanted)),
            (found[0].second, (each.second for each in wanted)),
        )
    )


def _apart(name: str, pair: tuple[ModuleAdapter, ModuleAdapter], allowed: float) -> float:
    share = difference(*pair)
    if not share <= allowed:  # also true of NaN
        raise DataError(
            f"{name} would differ by {share:.1e} of what it changes, and rounding explains {allowed:.0e}.",
            remedy="Numbers this small or large need --dtype fp32 or bf16; nothing was written.",
        )
    return share


def _lost(losses: Sequence[BakingLoss]) -> float | None:
    if not losses:
        return None
    return BakingLoss(math.hypot(*(one.change for one in losses)), math.hypot(*(one.lost for one in losses))).share
