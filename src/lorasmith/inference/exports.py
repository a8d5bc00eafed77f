# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# diffusers' loaders are only partly typed.
"""Owns loading an export into a pipeline through diffusers' own loaders; refuses files that do not fit the base."""

import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lorasmith.errors import DataError
from lorasmith.export_manifest import ExportManifest, read_manifest
from lorasmith.inference.pipeline import pool_at_end_of_text
from lorasmith.tokens.vocabulary import TokenAbstraction, TokenVocabulary

_ROWS = {"clip_l": ("tokenizer", "text_encoder"), "clip_g": ("tokenizer_2", "text_encoder_2")}
"""Which tensor of an embeddings file belongs to which tokenizer and encoder."""


def load_concept(
    pipeline: StableDiffusionXLPipeline, export_folder: Path, manifest: ExportManifest | None = None
) -> TokenVocabulary:
    """Load an export's new tokens and adapter; the vocabulary that writes its token abstractions out in prompts.

    Without a `manifest` the folder's own is read.

    DataError, with the pipeline not to be used any further, when a file is broken or belongs to another base.
    """
    manifest = manifest or read_manifest(export_folder)
    for concept in manifest.abstractions.values():
        _load_new_tokens(pipeline, export_folder / concept.file, concept.tokens)
    if manifest.lora is not None:
        _load_adapter(pipeline, export_folder, manifest.lora)
    pool_at_end_of_text(pipeline)
    return vocabulary_of(manifest)


def vocabulary_of(manifest: ExportManifest) -> TokenVocabulary:
    """The export's token abstractions."""
    return TokenVocabulary(
        tuple(
            TokenAbstraction(word, concept.tokens, concept.look_alike)
            for word, concept in manifest.abstractions.items()
        )
    )


def _load_new_tokens(pipeline: StableDiffusionXLPipeline, path: Path, tokens: tuple[str, ...]) -> None:
    tensors = _read(path)
    for name, (tokenizer_name, encoder_name) in _ROWS.items():
        tokenizer, encoder = getattr(pipeline, tokenizer_name), getattr(pipeline, encoder_name)
        width = encoder.get_input_embeddings().weight.shape[1]
        _check_rows(tensors.get(name), (len(tokens), width), f"{name} in {path}")
        known = [token for token in tokens if token in tokenizer.get_vocab()]
        if known:
            raise DataError(
                f"the base's tokenizer already knows {', '.join(known)}",
                remedy="Draw with the base as it was published.",
            )
        # Sized here, because the loader's own sizing makes up rows from the table's covariance first, and says so.
        encoder.resize_token_embeddings(len(tokenizer) + len(tokens), mean_resizing=False)
        load: Any = pipeline.load_textual_inversion  # takes a tensor of rows, and says it does not
        load(tensors[name], token=list(tokens), text_encoder=encoder, tokenizer=tokenizer)


def _load_adapter(pipeline: StableDiffusionXLPipeline, folder: Path, name: str) -> None:
    _read(folder / name)
    try:
        with _without_missing_prefix_warnings():
            pipeline.load_lora_weights(str(folder), weight_name=name, adapter_name="concept", local_files_only=True)
    except (RuntimeError, ValueError, KeyError) as failure:
        raise _misfit(folder / name, str(failure).splitlines()[0]) from failure
    if not pipeline.get_list_adapters():
        raise _misfit(folder / name, "none of its keys names a layer of the base")


@contextmanager
def _without_missing_prefix_warnings() -> Generator[None]:
    """diffusers warns for each text encoder that an adapter leaves alone, which is the usual case."""
    logger = logging.getLogger("diffusers.loaders.lora_base")

    def keep(record: logging.LogRecord) -> bool:
        return "No LoRA keys associated to" not in record.getMessage()

    logger.addFilter(keep)
    try:
        yield
    finally:
        logger.removeFilter(keep)


def _check_rows(rows: Tensor | None, shape: tuple[int, int], where: str) -> None:
    if rows is None:
        raise DataError(f"there is no {where}", remedy="Export again.")
    if tuple(rows.shape) != shape:
        found, wanted = "×".join(map(str, rows.shape)), "×".join(map(str, shape))
        raise DataError(
            f"{where} is {found} where the base and the manifest want {wanted}", remedy="Name its own base."
        )
    if not torch.isfinite(rows).all():
        raise DataError(f"{where} holds numbers that are not finite", remedy="Use an earlier export.")


def _misfit(path: Path, reason: str) -> DataError:
    return DataError(f"{path} does not fit the base: {reason}", remedy="Name the base it was trained on (--base).")


def _read(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as failure:
        raise DataError(
            f"{path} is not a readable safetensors file: {failure}", remedy="Copy or export it again."
        ) from failure
