"""Owns proving that exported files say what was trained, by reading them back as other programs would."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lorasmith.adapters.shape import AdapterKind
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.formats.adapters import adapters_in
from lorasmith.formats.diffusers_format import alphas_said
from lorasmith.formats.embeddings_format import embeddings_in, embeddings_tensors
from lorasmith.formats.module_names import with_text_model
from lorasmith.formats.opening import FileFormat, WeightsFile, open_weights, told_of_infinite
from lorasmith.formats.weights import AdapterWeights, ConceptRows, ModuleAdapter, NewTokenRows, Part

TOLERANCE = 1e-6
"""Largest difference allowed, as a share of the layer's largest change: rounding of fp32 when a scale is folded in.
In half precision it is twice that precision's own rounding."""


@dataclass(frozen=True)
class VerifiedFile:
    """A file that was read back: how many layers it has, and the largest difference found (a share, as TOLERANCE)."""

    path: Path
    layers: int
    largest_difference: float


@dataclass(frozen=True)
class Verification:
    """All files of an export, read back and found right."""

    files: tuple[VerifiedFile, ...]


@dataclass(frozen=True)
class FileReport:
    """What a LoRA or embeddings file holds, read without knowing what was trained. `problems` make it unusable."""

    path: Path
    format: FileFormat
    kind: AdapterKind | None
    ranks: tuple[int, ...]
    alphas: tuple[float, ...]
    layers: Mapping[Part, int]
    new_tokens: int
    layers_without_effect: int
    """Layers whose up weights are all zero: they change nothing."""
    problems: tuple[str, ...]


def verify_exports(paths: Sequence[Path], weights: AdapterWeights, rows: NewTokenRows) -> Verification:
    """Read every file back and compare each layer's change, and each row, with what is in memory; DataError if off."""
    files = [open_weights(path) for path in paths]
    concepts = iter(rows.concepts)
    verified = [
        _verify_rows(file, next(concepts, None)) if file.format == "embeddings" else _verify_adapters(file, weights)
        for file in files
    ]
    if next(concepts, None) is not None:
        raise DataError("There are fewer embeddings files than concepts.", remedy="Export again.")
    return Verification(tuple(verified))


def inspect_file(path: Path) -> FileReport:
    """What a file holds, for people; DataError when it cannot be read at all."""
    file = open_weights(path)
    layers = adapters_in(file)
    modules = [module for part in layers.values() for module in part.values()]
    return FileReport(
        path=path,
        format=file.format,
        kind=_kind(modules),
        ranks=tuple(sorted({len(module.down) for module in modules})),
        alphas=_alphas(file, modules),
        layers={part: len(found) for part, found in layers.items()},
        new_tokens=sum(len(found.first) for found in embeddings_in(file.tensors)),
        layers_without_effect=sum(not module.up.any() for module in modules),
        problems=_problems(file, modules),
    )


def _verify_adapters(file: WeightsFile, weights: AdapterWeights) -> VerifiedFile:
    """Every layer there and no other, each with the same change and magnitude."""
    found = adapters_in(file, layers_per_block=weights.layers_per_block)
    wanted: dict[Part, dict[str, ModuleAdapter]] = {
        part: {
            path if part == "denoiser" else with_text_model(path): module.scaled(adapter.scale)
            for path, module in adapter.modules.items()
        }
        for part, adapter in weights.parts.items()
        if adapter.modules
    }
    _refuse_other_layers(file, _names(wanted), _names(found))
    differences = [
        _difference(f"{part}.{path}", module, found[part][path], file)
        for part, modules in wanted.items()
        for path, module in modules.items()
    ]
    return VerifiedFile(file.path, len(differences), max(differences, default=0.0))


def _names(layers: Mapping[Part, Mapping[str, ModuleAdapter]]) -> set[str]:
    return {f"{part}.{path}" for part, modules in layers.items() for path in modules}


def _refuse_other_layers(file: WeightsFile, wanted: set[str], found: set[str]) -> None:
    """DataError naming the first layer that is missing or too many."""
    if wanted != found:
        missing, extra = sorted(wanted - found), sorted(found - wanted)
        first = f"lacks {missing[0]}" if missing else f"has {shown(extra[0])}, which was not trained"
        raise _wrong(file, f"{first} ({len(missing)} missing, {len(extra)} too many)")


def _difference(name: str, wanted: ModuleAdapter, found: ModuleAdapter, file: WeightsFile) -> float:
    """The largest difference in a layer's change, as a share of its largest number; DataError above TOLERANCE."""
    pairs = [(wanted.change(), found.change())]
    if wanted.magnitude is not None or found.magnitude is not None:
        if wanted.magnitude is None or found.magnitude is None:
            raise _wrong(file, f"has or lacks magnitudes in {name}")
        pairs.append((wanted.magnitude, found.magnitude))
    share = max(_share(*pair) for pair in pairs)
    if not share <= max(TOLERANCE, 2 * torch.finfo(wanted.up.dtype).eps):  # also true of NaN
        raise _wrong(file, f"differs in {name} by {share:.1e} of its largest change")
    return share


def _share(wanted: Tensor, found: Tensor) -> float:
    """The largest difference of two tensors of one shape, as a share of the first one's largest number."""
    if wanted.shape != found.shape:
        return float("inf")
    largest = wanted.abs().max().clamp_min(torch.finfo(torch.float32).tiny)
    return ((wanted - found).abs().max() / largest).item()


def _verify_rows(file: WeightsFile, concept: ConceptRows | None) -> VerifiedFile:
    """Both encoders' rows, to the last bit."""
    if concept is None:
        raise _wrong(file, "belongs to no concept that was trained")
    wanted = embeddings_tensors(concept)
    if wanted.keys() != file.tensors.keys() or not all(
        torch.equal(tensor, file.tensors[name]) for name, tensor in wanted.items()
    ):
        raise _wrong(file, f"does not hold the rows of {concept.abstraction}")
    return VerifiedFile(file.path, len(concept.tokens), 0.0)


def _wrong(file: WeightsFile, what: str) -> DataError:
    return DataError(
        f"{shown(file.path)} was read back and {what}.", remedy="Export again; the run's checkpoints are untouched."
    )


def _kind(modules: Sequence[ModuleAdapter]) -> AdapterKind | None:
    if not modules:
        return None
    return "dora" if any(module.magnitude is not None for module in modules) else "lora"


def _alphas(file: WeightsFile, modules: Sequence[ModuleAdapter]) -> tuple[float, ...]:
    """The alphas said in the file; ranks where it says none, as readers do."""
    said = {tensor.item() for name, tensor in file.tensors.items() if name.endswith(".alpha")}
    for alphas in alphas_said(file.header).values():
        said |= {*alphas.patterns.values(), *([] if alphas.usual is None else [alphas.usual])}
    return tuple(sorted(said or {float(len(module.down)) for module in modules}))


def _problems(file: WeightsFile, modules: Sequence[ModuleAdapter]) -> tuple[str, ...]:
    """What makes the file unusable, in words."""
    infinite = told_of_infinite(file.tensors)
    problems = [infinite] if infinite else []
    if modules and not any(module.up.any() for module in modules):
        problems.append("every layer's up weights are zero: the file changes nothing")
    return tuple(problems)
