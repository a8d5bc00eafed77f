"""Owns what a LoRA or embeddings file is, for people: format, family, blocks, tokens, metadata and what is wrong.

Changes nothing and trusts no header. Files of other families and methods are told apart, not refused.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import torch
from torch import Tensor

from lorasmith.adapters.shape import AdapterKind
from lorasmith.data.wording import counted, listed, shown
from lorasmith.formats.adapters import FileModule, modules_in
from lorasmith.formats.changes import change_norm
from lorasmith.formats.embeddings_format import OUTPUT_ROWS, EmbeddingsForm, embeddings_in
from lorasmith.formats.families import Family, as_a1111_thinks, family_of
from lorasmith.formats.keys import other_method
from lorasmith.formats.opening import FileFormat, OpenedFile, open_any, recognised, told_of_infinite
from lorasmith.formats.weights import MagnitudeAxis, ModuleAdapter, Part

_DTYPES = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16", torch.float64: "fp64"}


@dataclass(frozen=True)
class BlockFacts:
    """One block's adapters: their ranks and alphas, and the Frobenius norm of all they change together.

    An alpha of None was not said; readers take the rank for it.
    """

    part: Part
    block: str
    layers: int
    ranks: tuple[int, ...]
    alphas: tuple[float | None, ...]
    norm: float


@dataclass(frozen=True)
class EmbeddingFacts:
    """One embedding: how many tokens it becomes, and the mean length of its rows for each text encoder."""

    name: str | None
    form: EmbeddingsForm
    tokens: int
    widths: tuple[int, int]
    row_norms: tuple[float, float]


@dataclass(frozen=True)
class Inspection:
    """What a file is. `format` is None for what is no LoRA or embedding of SDXL; `problems` are in words.

    `broken` says that the file cannot be used; other problems are differences that programs make of it.
    """

    path: Path
    format: FileFormat | None
    family: Family
    a1111_thinks: str
    kind: AdapterKind | None
    magnitude_axis: MagnitudeAxis | None
    precisions: tuple[str, ...]
    methods: tuple[str, ...]
    blocks: tuple[BlockFacts, ...]
    embeddings: tuple[EmbeddingFacts, ...]
    tokens: Mapping[str, str]
    metadata: Mapping[str, str]
    problems: tuple[str, ...]
    broken: bool

    def as_json(self) -> dict[str, object]:
        """Plain data; norms that are no numbers are null, as JSON has no others."""
        return cast(dict[str, object], _finite({**asdict(self), "path": str(self.path)}))


def inspect(path: Path) -> Inspection:
    """What a file is; DataError when it cannot be opened at all (missing, cut short, a pickle, a hostile header)."""
    file = open_any(path)
    family = family_of(file.shapes)
    methods = tuple(sorted({method for name in file.tensors if (method := other_method(name)) is not None}))
    known = family.may_be_sdxl and not methods
    modules = modules_in(recognised(file)) if known else ()
    embeddings = tuple(_embedding_facts(file)) if known else ()
    adapters = [module.adapter() for module in modules]
    broken = tuple(_what_breaks(file, family, methods, adapters))
    return Inspection(
        path=path,
        format=recognised(file).format if known else None,
        family=family,
        a1111_thinks=as_a1111_thinks(file.header),
        kind=_kind(adapters),
        magnitude_axis=next((adapter.magnitude_axis for adapter in adapters if adapter.magnitude is not None), None),
        precisions=_precisions(file.tensors),
        methods=methods,
        blocks=_blocks(modules, adapters),
        embeddings=embeddings,
        tokens=file.tokens,
        metadata=file.header,
        problems=(*broken, *(_what_differs(file, family, modules, adapters) if known else ())),
        broken=bool(broken),
    )


def block_of(part: Part, path: str) -> str:
    """The block that a module is counted to: a denoiser's attention or ResNets of one place, a text encoder whole."""
    if part != "denoiser":
        return "layers"
    return path.partition(".transformer_blocks.")[0].removesuffix(".proj_in").removesuffix(".proj_out")


def _finite(value: object) -> object:
    """The same data without NaN and infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: _finite(one) for name, one in cast(dict[str, object], value).items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in cast(Sequence[object], value)]
    return value


def _blocks(modules: Sequence[FileModule], adapters: Sequence[ModuleAdapter]) -> tuple[BlockFacts, ...]:
    """In the order of the file's part and the data's way through the denoiser."""
    groups: dict[tuple[Part, str], list[tuple[FileModule, ModuleAdapter]]] = {}
    for module, adapter in zip(modules, adapters, strict=True):
        groups.setdefault((module.part, block_of(module.part, module.path)), []).append((module, adapter))
    return tuple(
        BlockFacts(
            part=part,
            block=block,
            layers=len(members),
            ranks=tuple(sorted({module.rank for module, _ in members})),
            alphas=tuple(sorted({module.alpha for module, _ in members}, key=lambda alpha: alpha or 0)),
            norm=math.hypot(*(change_norm(adapter) for _, adapter in members)),
        )
        for (part, block), members in sorted(groups.items(), key=lambda group: _place(*group[0]))
    )


def _place(part: Part, block: str) -> tuple[int, int, str]:
    parts: tuple[Part, ...] = ("denoiser", "text_encoder_1", "text_encoder_2")
    ways = ("conv_in", "time", "add", "down", "mid", "up")
    return parts.index(part), next((at for at, way in enumerate(ways) if block.startswith(way)), len(ways)), block


def _embedding_facts(file: OpenedFile) -> Iterator[EmbeddingFacts]:
    for found in embeddings_in(file.tensors):
        yield EmbeddingFacts(
            name=found.name,
            form=found.form,
            tokens=len(found.first),
            widths=(found.first.shape[1], found.second.shape[1]),
            row_norms=(_mean_length(found.first), _mean_length(found.second)),
        )


def _mean_length(rows: Tensor) -> float:
    return sum(math.hypot(*row) for row in cast(list[list[float]], rows.double().tolist())) / len(rows)


def _kind(adapters: Sequence[ModuleAdapter]) -> AdapterKind | None:
    if not adapters:
        return None
    return "dora" if any(adapter.magnitude is not None for adapter in adapters) else "lora"


def _precisions(tensors: Mapping[str, Tensor]) -> tuple[str, ...]:
    """Of the weights; alphas are often in another one."""
    weights = [tensor for name, tensor in tensors.items() if not name.endswith("alpha")]
    return tuple(sorted({_DTYPES.get(tensor.dtype, str(tensor.dtype).removeprefix("torch.")) for tensor in weights}))


def _what_breaks(
    file: OpenedFile, family: Family, methods: Sequence[str], adapters: Sequence[ModuleAdapter]
) -> Iterator[str]:
    """What makes the file unusable for SDXL, or at all."""
    if not family.may_be_sdxl:
        yield f"it is for {family.name}, not SDXL: {shown(family.told_by)}"
    if methods:
        yield f"it holds {' and '.join(methods)}, which lorasmith does not read"
    infinite = told_of_infinite(file.tensors)
    if infinite:
        yield infinite
    if adapters and not any(adapter.up.any() for adapter in adapters):
        yield "every layer's up weights are zero: the file changes nothing"


def _what_differs(
    file: OpenedFile, family: Family, modules: Sequence[FileModule], adapters: Sequence[ModuleAdapter]
) -> Iterator[str]:
    """What programs read differently, or may not have been meant."""
    still = [module.name for module, adapter in zip(modules, adapters, strict=True) if not adapter.up.any()]
    if still and len(still) < len(modules):
        first = listed(still, limit=2)
        yield f"{counted(len(still), 'layer')} of {len(modules)} without effect (up weights zero): {first}"
    unsaid = [module.name for module in modules if module.alpha is None]
    if unsaid:
        yield f"{counted(len(unsaid), 'layer')} without alpha: programs take the rank for it"
    if modules and as_a1111_thinks(file.header) not in ("SDXL", "unknown") and family.may_be_sdxl:
        thought = as_a1111_thinks(file.header)
        yield f"its metadata does not say sdxl_: A1111 takes it for {thought} and hides it while an SDXL base is loaded"
    if len(_precisions(file.tensors)) > 1:
        yield f"its weights are in several precisions: {', '.join(_precisions(file.tensors))}"
    spellings = sorted({key.spelling for module in modules for key in module.keys.values() if key.part == "denoiser"})
    if len(spellings) > 1:
        yield f"its keys are in several spellings: {', '.join(spellings)}"
    outputs = [name for name in file.tensors if name.endswith(OUTPUT_ROWS)]
    if outputs:
        yield f"{outputs[0]} holds OneTrainer's output embeddings, which no other program reads"
