"""Owns opening what is to be merged, from run folders, export folders and LoRA files; merges nothing."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.export_manifest import ExportManifest, is_export_folder, sha256_of
from lorasmith.formats.adapters import adapters_in
from lorasmith.formats.opening import open_sound_weights
from lorasmith.formats.weights import ConceptRows, NewTokenRows
from lorasmith.merging.parents import Parent, with_plain_paths
from lorasmith.models.sdxl.components import describe, is_on_this_machine, locate_base
from lorasmith.models.sdxl.description import BaseDescription
from lorasmith.run_folder import RunFolder
from lorasmith.runs.export_source import find_export

_USUAL_LAYERS_PER_BLOCK = 2


@dataclass(frozen=True)
class WeightedSource:
    """What is named for merging: a run folder, an export folder or a file, and how strongly it counts."""

    path: Path
    weight: float = 1.0

    @classmethod
    def said(cls, text: str) -> "WeightedSource":
        """`FILE`, or `FILE:0.8`; a name that ends in a colon and a number is there as it stands, or is not meant."""
        before, colon, after = text.rpartition(":")
        if not colon or Path(text).exists():
            return cls(Path(text))
        try:
            weight = float(after)
        except ValueError:
            return cls(Path(text))
        return cls(Path(before), weight)


@dataclass(frozen=True)
class OpenedParent:
    """A parent as it is in its file, and what is known of where it comes from."""

    parent: Parent
    file: Path
    sha256: str
    base: ModelConfig | None
    run: RunFolder | None
    text: TextConfig


@dataclass(frozen=True)
class SharedBase:
    """The base that all parents share; None where no file says it and none was named."""

    config: ModelConfig | None
    description: BaseDescription | None

    @property
    def layers_per_block(self) -> int:
        """ResNets a level of the denoiser, which kohya's names depend on; SDXL's where nothing is known."""
        if self.description is None:
            return _USUAL_LAYERS_PER_BLOCK
        said = self.description.configs["unet"].get("layers_per_block", _USUAL_LAYERS_PER_BLOCK)
        return said if isinstance(said, int) else _USUAL_LAYERS_PER_BLOCK


@dataclass(frozen=True)
class _Found:
    """Where a source's LoRA file is, and the manifest and the base beside it, if any."""

    source: WeightedSource
    name: str
    file: Path
    manifest: ExportManifest | None
    base: ModelConfig | None
    run: RunFolder | None


def open_parents(
    sources: Sequence[WeightedSource], *, base: str | None = None
) -> tuple[tuple[OpenedParent, ...], SharedBase]:
    """Read every source and find the base they share; `base` overrides what they say.

    ConfigError for weights that are no numbers and places where nothing is, DataError for files that are no LoRA, and
    for parents of different bases.
    """
    _refuse_weights(sources)
    found = [_find(source) for source in sources]
    shared = _shared_base(found, base)
    names = _different([one.name for one in found])
    return tuple(_opened(replace(one, name=name), shared) for one, name in zip(found, names, strict=True)), shared


def _refuse_weights(sources: Sequence[WeightedSource]) -> None:
    for source in sources:
        if not math.isfinite(source.weight) or source.weight == 0 or abs(source.weight) > 10:
            raise ConfigError(
                f"the weight {source.weight:g} of {shown(source.path)} is out of bounds",
                where="weight",
                remedy="Use about 0.3 to 1.5; a negative one takes away what the adapter adds.",
            )


def _find(source: WeightedSource) -> _Found:
    path = source.path.expanduser()
    if path.is_dir():
        export = find_export(path)
        if export.manifest.lora is None:
            raise DataError(f"{shown(path)} has new tokens and no adapter", remedy="Load its embeddings beside others.")
        name = (export.run.path if export.run else export.export).resolve().name
        return _Found(source, name, export.export / export.manifest.lora, export.manifest, export.model, export.run)
    if not path.is_file():
        raise ConfigError(
            f"there is no file or folder {shown(path)}", where="sources", remedy="Name runs, export folders or files."
        )
    if is_export_folder(path.parent):
        export = find_export(path.parent)
        return _Found(source, path.stem, path, export.manifest, export.model, export.run)
    return _Found(source, path.stem, path, None, None, None)


def _shared_base(found: Sequence[_Found], named: str | None) -> SharedBase:
    if named is not None:
        return _described(ModelConfig(base=named), named=True)
    said = [(one.name, one.manifest.base, one.base) for one in found if one.manifest and one.base]
    if not said:
        return SharedBase(None, None)
    (first, base, _), *others = said
    for name, other, _ in others:
        if other != base:
            raise DataError(
                f"{shown(first)} was trained on {shown(base)} and {shown(name)} on {shown(other)}",
                remedy="Merge adapters of one base; --base NAME merges them for that base all the same.",
            )
    configs = [config for _, _, config in said]
    return _described(next((config for config in configs if is_on_this_machine(config)), configs[0]), named=False)


def _described(config: ModelConfig, *, named: bool) -> SharedBase:
    """A base that is not on this machine is opened only where a method needs it."""
    if not named and not is_on_this_machine(config):
        return SharedBase(config, None)
    return SharedBase(config, describe(locate_base(config, with_weights=False)))


def _opened(found: _Found, shared: SharedBase) -> OpenedParent:
    file = open_sound_weights(found.file)
    layers = with_plain_paths(adapters_in(file, layers_per_block=shared.layers_per_block))
    if not layers:
        raise DataError(f"{shown(found.file)} holds no adapter", remedy="Name the LoRA file beside it.")
    manifest = found.manifest or ExportManifest(base="")
    parent = Parent(found.name, layers, found.source.weight, _rows(found.file.parent, manifest))
    reading = TextConfig(clip_skip=manifest.clip_skip, long_prompts=manifest.long_prompts)
    return OpenedParent(parent, found.file, sha256_of(found.file), found.base, found.run, reading)


def _rows(folder: Path, manifest: ExportManifest) -> NewTokenRows:
    """The new tokens of an export's concepts."""
    concepts = list[ConceptRows]()
    for word, concept in manifest.abstractions.items():
        tensors = open_sound_weights(folder / concept.file).tensors
        if not {"clip_l", "clip_g"} <= tensors.keys() or any(
            tensors[name].ndim != 2 or len(tensors[name]) != len(concept.tokens) for name in ("clip_l", "clip_g")
        ):
            raise DataError(
                f"{shown(concept.file)} does not hold {len(concept.tokens)} rows for each text encoder",
                remedy="Copy the whole export folder.",
            )
        concepts.append(
            ConceptRows(word, concept.tokens, tensors["clip_l"].float(), tensors["clip_g"].float(), concept.look_alike)
        )
    return NewTokenRows(tuple(concepts))


def _different(names: Sequence[str]) -> list[str]:
    """Equal names numbered."""
    return [f"{name} ({names[: place + 1].count(name)})" if names.count(name) > 1 else name
            for place, name in enumerate(names)]  # fmt: skip
