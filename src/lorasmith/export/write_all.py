"""Owns writing an export: every file in its order, each read back before it counts; trains and draws nothing."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import assert_never

from torch import Tensor

from lorasmith.export.adapter_files import AdapterFile, adapter_files
from lorasmith.export.file_names import CARD_FILE, DIFFUSERS_FILE, embeddings_files
from lorasmith.export.info import CardPicture, ExportInfo
from lorasmith.export.metadata import embeddings_metadata, lora_metadata
from lorasmith.export.model_card import ShownPicture, model_card
from lorasmith.export.verify import verify_exports
from lorasmith.export.weights import AdapterWeights, NewTokenRows, refuse_unexportable
from lorasmith.export.write import ExportedFile, serialise, tensor_hash, write_whole
from lorasmith.export_manifest import ConceptFile, ExportManifest, sha256_of, write_manifest
from lorasmith.formats.diffusers_format import diffusers_metadata, diffusers_tensors
from lorasmith.formats.embeddings_format import embeddings_tensors
from lorasmith.formats.kohya_format import kohya_tensors


def write_exports(
    folder: Path,
    weights: AdapterWeights,
    *,
    rows: NewTokenRows,
    info: ExportInfo,
    pictures: Sequence[CardPicture] = (),
) -> tuple[ExportedFile, ...]:
    """Write LoRA files, embeddings, manifest and model card; equal arguments give equal bytes.

    Refuses before writing (DataError, DivergedError) what cannot be used. ResourceError when the disk is full: files
    written before stay whole. DataError when a file does not say, read back, what was trained.
    """
    refuse_unexportable(weights, rows)
    folder.mkdir(parents=True, exist_ok=True)
    planned = adapter_files(info, weights)
    files = (*(_write_adapter(folder, file, rows, info) for file in planned), *_write_embeddings(folder, rows, info))
    shown = _copied(folder, pictures)
    card = _write_card(folder, model_card(info, weights, rows=rows, pictures=shown))
    # Last, because it promises all the others.
    written = (*(file.path for file in files), card.path, *(folder / picture.file for picture in shown))
    hashes = {path.name: sha256_of(path) for path in written}
    manifest = write_manifest(folder, _manifest(weights, rows, info, hashes))
    return (*files, ExportedFile(manifest, ("lorasmith",)), card)


def _write_adapter(folder: Path, file: AdapterFile, rows: NewTokenRows, info: ExportInfo) -> ExportedFile:
    """One LoRA file, written and read back."""
    tensors, header = _adapter_content(file, rows, info)
    path = folder / file.name
    write_whole(path, serialise(tensors, header))
    verify_exports([path], file.weights, NewTokenRows())
    return ExportedFile(path, file.readers)


def _adapter_content(
    file: AdapterFile, rows: NewTokenRows, info: ExportInfo
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """A LoRA file's tensors and header."""
    match file.spelling:
        case "diffusers":
            return diffusers_tensors(file.weights), diffusers_metadata(file.weights)
        case "kohya":
            tensors = kohya_tensors(file.weights)
            return tensors, lora_metadata(info, file, rows, tensor_hash(tensors))
        case _:
            assert_never(file.spelling)


def _write_embeddings(folder: Path, rows: NewTokenRows, info: ExportInfo) -> list[ExportedFile]:
    """One embeddings file a concept, since programs spread a file's name to all of its rows."""
    names = embeddings_files(info.name, [concept.abstraction for concept in rows.concepts])
    for name, concept in zip(names, rows.concepts, strict=True):
        write_whole(folder / name, serialise(embeddings_tensors(concept), embeddings_metadata(info, rows, name)))
    verify_exports([folder / name for name in names], AdapterWeights({}), rows)
    return [ExportedFile(folder / name, ("diffusers", "A1111", "Forge", "ComfyUI", "lorasmith")) for name in names]


def _manifest(
    weights: AdapterWeights, rows: NewTokenRows, info: ExportInfo, hashes: Mapping[str, str]
) -> ExportManifest:
    """How the files belong together, for `lorasmith generate`."""
    names = embeddings_files(info.name, [concept.abstraction for concept in rows.concepts])
    return ExportManifest(
        base=info.base_name,
        revision=info.revision,
        lora=DIFFUSERS_FILE if weights.parts else None,
        abstractions={
            concept.abstraction: ConceptFile(tokens=concept.tokens, file=name, look_alike=concept.look_alike)
            for concept, name in zip(rows.concepts, names, strict=True)
        },
        clip_skip=info.text.clip_skip,
        long_prompts=info.text.long_prompts,
        recommended_scale=info.recommended_scale,
        files=dict(hashes),
    )


def _copied(folder: Path, pictures: Sequence[CardPicture]) -> list[ShownPicture]:
    """Copies of the pictures beside the card, under tame names."""
    shown: list[ShownPicture] = []
    for number, picture in enumerate(pictures):
        name = f"image_{number}{picture.path.suffix.lower()}"
        write_whole(folder / name, picture.path.read_bytes())
        shown.append(ShownPicture(name, picture.prompt))
    return shown


def _write_card(folder: Path, text: str) -> ExportedFile:
    write_whole(folder / CARD_FILE, text.encode())
    return ExportedFile(folder / CARD_FILE, ("people", "hubs"))
