"""Owns a weights file's bytes in each program's spelling, and what each can hold; compares and writes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, assert_never

import torch
from torch import Tensor

from lorasmith.errors import ConfigError, DataError
from lorasmith.formats import cog_archive
from lorasmith.formats.diffusers_format import diffusers_metadata, diffusers_tensors
from lorasmith.formats.embeddings_format import FIRST, SECOND, FoundEmbedding, bundled_tensors, numbered_tensors
from lorasmith.formats.kohya_format import comfyui_tensors, kohya_tensors
from lorasmith.formats.serialised import serialise, tensor_hash
from lorasmith.formats.weights import AdapterWeights

Target = Literal["diffusers", "kohya", "kohya-diffusers", "comfyui", "cog", "a1111-bundle", "embeddings"]
_HOLDS_EMBEDDINGS: tuple[Target, ...] = ("cog", "a1111-bundle", "embeddings")
_ATTENTION = (".to_q", ".to_k", ".to_v", ".to_out.0")


@dataclass(frozen=True)
class Content:
    """What is to be in a file: adapters and embeddings, a header's words, and tokens for cog's archive."""

    weights: AdapterWeights
    embeddings: Sequence[FoundEmbedding] = ()
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])
    tokens: Mapping[str, str] = field(default_factory=dict[str, str])


def holds_embeddings(target: Target) -> bool:
    """Whether files of a kind have room for embeddings; the others are LoRA alone."""
    return target in _HOLDS_EMBEDDINGS


def refuse_what_does_not_fit(target: Target, content: Content) -> None:
    """ConfigError for what a target cannot say: magnitudes for inputs in peft's files, DoRA in cog's and such."""
    adapters = [module for part in content.weights.parts.values() for module in part.modules.values()]
    remedy = "Bake it to a plain LoRA (--bake --base BASE)."
    if target == "diffusers" and any(one.magnitude is not None and one.magnitude_axis == "input" for one in adapters):
        raise ConfigError(
            "this DoRA has a magnitude for each input, and diffusers knows one for each output alone", remedy=remedy
        )
    if target == "cog":
        if content.weights.kind == "dora":
            raise ConfigError("cog-sdxl knows no DoRA", remedy=remedy)
        paths = [path for part in content.weights.parts.values() for path in part.modules]
        others = [path for path in paths if not path.endswith(_ATTENTION)]
        if set(content.weights.parts) - {"denoiser"} or others:
            what = others[0] if others else "a text encoder's adapter"
            raise ConfigError(f"cog-sdxl reads LoRA on the denoiser's attention alone, and there is {what}",
                              remedy="Choose another target, such as kohya.")  # fmt: skip


def bytes_of(target: Target, content: Content) -> bytes:
    """The whole file. Equal contents give equal bytes."""
    match target:
        case "diffusers":
            tensors, header = diffusers_tensors(content.weights), diffusers_metadata(content.weights)
        case "kohya":
            return _with_hashes(kohya_tensors(content.weights), content.metadata)
        case "kohya-diffusers":
            return _with_hashes(kohya_tensors(content.weights, layout="diffusers"), content.metadata)
        case "comfyui":
            return _with_hashes(comfyui_tensors(content.weights), content.metadata)
        case "a1111-bundle":
            return _with_hashes(kohya_tensors(content.weights) | _bundles(content.embeddings), content.metadata)
        case "cog":
            return cog_archive.archive_bytes(_cog_tensors(content.weights), *_cog_rows(content))
        case "embeddings":
            tensors, header = _joined(content.embeddings), dict(content.metadata)
        case _:
            assert_never(target)
    return serialise(tensors, header)


def _with_hashes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """With the hash of the tensors, by which WebUIs know a file."""
    digest = tensor_hash(tensors)
    return serialise(tensors, {**metadata, "sshs_model_hash": digest, "modelspec.hash_sha256": f"0x{digest}"})


def _bundles(embeddings: Sequence[FoundEmbedding]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for one in embeddings:
        tensors |= bundled_tensors(one.name or "", one.first, one.second)
    return tensors


def _joined(embeddings: Sequence[FoundEmbedding]) -> dict[str, Tensor]:
    """All rows under one name, in the order given."""
    if not embeddings:
        raise DataError("There is no embedding to write.", remedy="Name a file with one, or --join one.")
    try:
        return {
            FIRST: torch.cat([one.first for one in embeddings]).contiguous(),
            SECOND: torch.cat([one.second for one in embeddings]).contiguous(),
        }
    except RuntimeError as misfit:
        raise DataError("The embeddings are of different widths, so of different bases.") from misfit


def _cog_tensors(weights: AdapterWeights) -> dict[str, Tensor]:
    """Attention processors as they were in 2023, which know no alpha: the scale is folded in."""
    tensors: dict[str, Tensor] = {}
    for adapter in weights.parts.values():
        for path, module in adapter.modules.items():
            block, _, leaf = path.removesuffix(".0").rpartition(".")
            name = f"{block}.processor.{leaf}_lora"
            tensors |= {f"{name}.down.weight": module.down, f"{name}.up.weight": module.scaled(adapter.scale).up}
    return tensors


def _cog_rows(content: Content) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All rows as tokens `<s0>`, `<s1>`…, and which of them each token abstraction becomes."""
    if not content.embeddings:
        return {}, dict(content.tokens)
    joined = _joined(content.embeddings)
    tokens: dict[str, str] = {}
    count = 0
    for one in content.embeddings:
        tokens[one.name or "TOK"] = "".join(f"<s{count + row}>" for row in range(len(one.first)))
        count += len(one.first)
    said = dict(content.tokens) if len(content.tokens) == len(tokens) else tokens
    return numbered_tensors(joined[FIRST], joined[SECOND]), said
