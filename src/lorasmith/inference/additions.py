# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# diffusers' pipelines are only partly typed.
"""Owns lending a pipeline new tokens and several adapters and getting it back as it was; reads no file."""

import copy
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline
from torch import Tensor, nn

from lorasmith.adapters.stack import LowRankChange, set_strengths, stack_adapter, unstack_adapters
from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.tokens.attach import add_to_tokenizer
from lorasmith.tokens.embedding import NewTokenEmbedding

Changes = Mapping[str, Mapping[str, LowRankChange]]
"""One LoRA: by part (`denoiser`, `text_encoder_1`, `text_encoder_2`), by layer."""


@dataclass(frozen=True)
class Strength:
    """How strongly a LoRA acts on the denoiser and on the text encoders."""

    denoiser: float = 1.0
    text_encoders: float = 1.0


@dataclass(frozen=True)
class NewRows:
    """New tokens and their rows, [tokens, width] for each text encoder."""

    tokens: tuple[str, ...]
    first: Tensor
    second: Tensor


@contextmanager
def with_new_tokens(pipeline: StableDiffusionXLPipeline, rows: NewRows) -> Generator[None]:
    """The pipeline with new tokens inside the block, and as it was after it. DataError when it knows one already."""
    tokenizers = pipeline.tokenizer, pipeline.tokenizer_2
    encoders: tuple[Any, Any] = pipeline.text_encoder, pipeline.text_encoder_2
    tables: list[Any] = [encoder.get_input_embeddings() for encoder in encoders]
    # Copies take the new tokens, since a tokenizer cannot forget one.
    pipeline.tokenizer, pipeline.tokenizer_2 = (copy.deepcopy(tokenizer) for tokenizer in tokenizers)
    try:
        if rows.tokens:
            _add(pipeline.tokenizer, encoders[0], rows.tokens, rows.first)
            _add(pipeline.tokenizer_2, encoders[1], rows.tokens, rows.second)
        yield
    finally:
        pipeline.tokenizer, pipeline.tokenizer_2 = tokenizers
        for encoder, table in zip(encoders, tables, strict=True):
            encoder.set_input_embeddings(table)


@contextmanager
def with_adapters(pipeline: StableDiffusionXLPipeline, loras: Mapping[str, Changes]) -> Generator[None]:
    """The pipeline with LoRAs by name inside the block, none acting yet, and to the bit as it was after it.

    DataError when one does not fit the base.
    """
    parts = parts_of(pipeline)
    try:
        for name, changes in loras.items():
            _stack(parts, changes, name)
        let_act(pipeline, {})
        yield
    finally:
        for part in parts.values():
            unstack_adapters(part)


def let_act(pipeline: StableDiffusionXLPipeline, strengths: Mapping[str, Strength]) -> None:
    """Let these of a pipeline's LoRAs act from now on, and no others."""
    parts = parts_of(pipeline)
    set_strengths(parts["denoiser"], {name: one.denoiser for name, one in strengths.items()})
    for encoder in ("text_encoder_1", "text_encoder_2"):
        set_strengths(parts[encoder], {name: one.text_encoders for name, one in strengths.items()})


def parts_of(pipeline: StableDiffusionXLPipeline) -> dict[str, nn.Module]:
    """The networks that LoRAs go on, by name."""
    return {
        "denoiser": pipeline.unet,
        "text_encoder_1": pipeline.text_encoder,
        "text_encoder_2": pipeline.text_encoder_2,
    }


def _stack(parts: Mapping[str, nn.Module], changes: Changes, name: str) -> None:
    try:
        for part, layers in changes.items():
            stack_adapter(parts[part], layers, adapter=name)
    except DataError as misfit:
        raise DataError(
            f"LoRA {shown(name)} does not fit the base: {misfit.problems[0].what}",
            remedy="Name the base it was trained on (--base).",
        ) from misfit


def _add(tokenizer: Any, encoder: Any, tokens: Sequence[str], rows: Tensor) -> None:
    table = encoder.get_input_embeddings()
    width = table.weight.shape[1]
    if rows.shape != (len(tokens), width):
        raise DataError(
            f"the embeddings are rows of {rows.shape[-1]} numbers, and the base's have {width}",
            remedy="Name the base they were trained on (--base).",
        )
    if not torch.isfinite(rows).all():
        raise DataError("the embeddings hold numbers that are not finite", remedy="Use another file.")
    first_id = add_to_tokenizer(tokenizer, tokens, rows_in_table=table.num_embeddings)
    encoder.set_input_embeddings(NewTokenEmbedding(table, rows.to(table.weight.device), first_id=first_id))
