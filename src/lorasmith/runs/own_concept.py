"""Owns a run's own concept as it is drawn with: from its export, or from one of its checkpoints; trains nothing."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.formats.weights import ModuleAdapter
from lorasmith.inference.additions import Changes, NewRows
from lorasmith.run_folder import RunFolder
from lorasmith.runs.addition_files import LoraFile, read_embeddings, read_lora
from lorasmith.runs.export_source import ExportSource
from lorasmith.runs.stored_config import read_config
from lorasmith.training.assemble import adapter_shape
from lorasmith.training.checkpoint import damage_of, read_checkpoint

_PARAMETER = re.compile(r"(.+)\.(lora_A|lora_B|lora_magnitude_vector)\.default\.weight")


@dataclass(frozen=True)
class OwnConcept:
    """A concept's adapter (if it has one) and its new tokens' rows; `step` where it is a checkpoint's."""

    lora: LoraFile | None
    rows: NewRows
    step: int | None = None
    embeddings: tuple[tuple[str, str], ...] = ()
    """What WebUIs call its embeddings files, and their hashes."""


def exported_concept(source: ExportSource, *, layers_per_block: int) -> OwnConcept:
    """The concept as it was exported. DataError when a file is broken or does not belong there."""
    manifest = source.manifest
    tokens, first, second = list[str](), list[Tensor](), list[Tensor]()
    hashes = list[tuple[str, str]]()
    for word, concept in manifest.abstractions.items():
        file = read_embeddings(source.export / concept.file, first_token=0)[0]
        rows = file.rows
        hashes.append((file.name, file.short_hash))
        if len(rows.tokens) != len(concept.tokens):
            raise DataError(
                f"{source.export / concept.file} has {len(rows.tokens)} rows where {word} has {len(concept.tokens)} "
                "new tokens",
                remedy="Export again.",
            )
        tokens += concept.tokens
        first.append(rows.first)
        second.append(rows.second)
    lora = (
        None if manifest.lora is None else read_lora(source.export / manifest.lora, layers_per_block=layers_per_block)
    )
    if lora is not None:
        lora = replace(lora, name=source.name)
    empty = torch.empty(0)
    all_rows = NewRows(tuple(tokens), torch.cat(first or [empty]), torch.cat(second or [empty]))
    return OwnConcept(lora, all_rows, embeddings=tuple(hashes))


def is_own_file(source: ExportSource, path: Path) -> bool:
    """Whether a file is the export's adapter itself, for diffusers or for WebUIs, and no part of it, nor baked."""
    if path.resolve().parent != source.export.resolve():
        return False
    return path.name == source.manifest.lora or path.stem == source.name


def steps_of(source: ExportSource, asked: tuple[str, ...]) -> tuple[int | None, ...]:
    """The checkpoints that were asked for, None standing for the export. ConfigError for one that is not there."""
    if not asked:
        return (None,)
    if source.run is None:
        raise ConfigError(f"{source.export} is not in its run, which has the checkpoints", where="checkpoint")
    there = source.run.checkpoint_steps()
    names = [*map(str, there), "final"] if "all" in asked else asked
    wrong = [name for name in names if name != "final" and (not name.isdecimal() or int(name) not in there)]
    if wrong:
        known = ", ".join(map(str, there)) or "none"
        raise ConfigError(
            f"there is no checkpoint {wrong[0]!r} in {source.run.path}",
            where="checkpoint",
            remedy=f"There are {known}, `final` (the export) and `all`.",
        )
    return tuple(dict.fromkeys(None if name == "final" else int(name) for name in names))


def checkpoint_concept(run: RunFolder, step: int, tokens: tuple[str, ...]) -> OwnConcept:
    """The concept as it stood after `step`, to be drawn with under the export's tokens. DataError when damaged."""
    folder = run.checkpoint_folder(step)
    damage = damage_of(folder)
    if damage:
        raise DataError(f"the checkpoint after step {step} cannot be used: {damage}", where=str(folder))
    state, _ = read_checkpoint(folder)
    changes = _changes(state.weights, read_config(run))
    first, second = (
        state.weights.get(name, {}).get("rows", torch.empty(0)) for name in ("new_tokens_1", "new_tokens_2")
    )
    lora = LoraFile(f"{run.path.resolve().name}-{step:06d}", "", changes) if changes else None
    return OwnConcept(lora, NewRows(tokens if len(first) else (), first.float(), second.float()), step)


def _changes(weights: Mapping[str, Mapping[str, Tensor]], config: TrainConfig) -> Changes:
    """A checkpoint's adapters by part and layer with alpha ÷ rank, the same in every layer, folded in."""
    found: dict[str, dict[str, ModuleAdapter]] = {}
    for part in ("denoiser", "text_encoder_1", "text_encoder_2"):
        pieces: dict[str, dict[str, Tensor]] = {}
        for name, tensor in weights.get(part, {}).items():
            match = _PARAMETER.fullmatch(name)
            if match is None:
                raise DataError(f"{part} of a checkpoint holds {name}, which is no adapter's", remedy="Use the export.")
            pieces.setdefault(match[1], {})[match[2]] = tensor.float()
        shape = adapter_shape(config, part)
        found[part] = {
            path: ModuleAdapter(one["lora_A"], one["lora_B"], one.get("lora_magnitude_vector")).scaled(
                shape.alpha / shape.rank
            )
            for path, one in pieces.items()
        }
    return {part: layers for part, layers in found.items() if layers}
