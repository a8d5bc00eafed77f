# diffusers' and transformers' classes are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""Owns a base with a merge put into its weights and the new tokens into its tables, written whole and read back."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from lorasmith.atomic import naming_write_failures
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.formats.weights import NewTokenRows, Part
from lorasmith.inference.pipeline import pipeline_from_components
from lorasmith.merging.on_base import put_in
from lorasmith.merging.parents import Layers
from lorasmith.models.sdxl import bundled, sgm_names
from lorasmith.models.sdxl.components import SdxlComponents
from lorasmith.models.sdxl.description import PartFolder, read_configs
from lorasmith.models.sdxl.noise import has_zero_terminal_snr
from lorasmith.models.sdxl.sgm_writing import sgm_tensors
from lorasmith.tokens.attach import add_to_tokenizer

BasePrecision = Literal["fp32", "fp16", "bf16"]
DTYPES: Final[Mapping[BasePrecision, torch.dtype]] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


@dataclass(frozen=True)
class WrittenBase:
    """A base that was written and read back: its folder or file, and how many tensors were compared."""

    path: Path
    tensors: int


def networks_of(components: SdxlComponents) -> dict[Part, nn.Module]:
    """The networks that adapters sit in."""
    return {
        "denoiser": components.unet,
        "text_encoder_1": components.text_encoder_1,
        "text_encoder_2": components.text_encoder_2,
    }


def is_single_file(place: Path) -> bool:
    """Whether a base is to be one file."""
    return place.suffix.lower() == ".safetensors"


def refuse_unwritable(place: Path, components: SdxlComponents) -> None:
    """Before any work: ConfigError for a place that is taken, DataError for a base that one file cannot be of."""
    if place.exists() and (place.is_file() or any(place.iterdir())):
        raise ConfigError(f"{place} is there already", where="into_base", remedy="Name a new folder or file.")
    if is_single_file(place):
        _refuse_other_layouts(components)


def put_into_base(components: SdxlComponents, layers: Layers, rows: NewTokenRows) -> None:
    """Change a base for good: adapters summed into its weights, new tokens added to its tokenizers and tables."""
    put_in(networks_of(components), layers)
    add_new_tokens(components, rows)


def add_new_tokens(components: SdxlComponents, rows: NewTokenRows) -> None:
    """New tokens behind the tables' last rows; the configs say where a text ends, so that any program pools there."""
    pairs: list[tuple[Any, Any, list[Tensor]]] = [
        (components.tokenizer_1, components.text_encoder_1, [concept.text_encoder_1 for concept in rows.concepts]),
        (components.tokenizer_2, components.text_encoder_2, [concept.text_encoder_2 for concept in rows.concepts]),
    ]
    tokens = [token for concept in rows.concepts for token in concept.tokens]
    if not tokens:
        return
    for tokenizer, encoder, found in pairs:
        count = encoder.get_input_embeddings().num_embeddings
        first = add_to_tokenizer(tokenizer, tokens, rows_in_table=count)
        table = encoder.resize_token_embeddings(first + len(tokens), mean_resizing=False)
        table.weight.data[first:] = torch.cat(found).to(table.weight)
        # SDXL's configs say 2, for which transformers reads a prompt's meaning at the highest id: the new token.
        encoder.config.eos_token_id = tokenizer.eos_token_id


def write_base(components: SdxlComponents, place: Path, *, precision: BasePrecision) -> WrittenBase:
    """Write a base as a folder in the diffusers layout or as one file, and read it back.

    Whole or not at all. DataError when what was read back differs in any number; nothing is left then.
    """
    dtype = DTYPES[precision]
    parts: list[nn.Module] = [*networks_of(components).values(), components.vae]
    for part in parts:
        part.to(dtype)
    if is_single_file(place):
        return _write_file(components, place)
    return _write_folder(components, place)


def _write_folder(components: SdxlComponents, folder: Path) -> WrittenBase:
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        pipeline: Any = pipeline_from_components(components, device=torch.device("cpu"))
        with naming_write_failures(folder):
            pipeline.save_pretrained(beside, safe_serialization=True)
        compared = sum(
            _compare(_read_folder(beside / name), part.state_dict(), name)
            for name, part in _parts_of(components).items()
        )
        if folder.exists():
            folder.rmdir()  # it was empty, or nothing would have begun
        beside.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return WrittenBase(folder, compared)


def _parts_of(components: SdxlComponents) -> dict[PartFolder, nn.Module]:
    return {
        "unet": components.unet,
        "vae": components.vae,
        "text_encoder": components.text_encoder_1,
        "text_encoder_2": components.text_encoder_2,
    }


def _read_folder(folder: Path) -> dict[str, Tensor]:
    return {name: tensor for file in sorted(folder.glob("*.safetensors")) for name, tensor in load_file(file).items()}


def _write_file(components: SdxlComponents, path: Path) -> WrittenBase:
    """One file, with the empty tensors by which other programs know what is predicted."""
    pipeline: Any = pipeline_from_components(components, device=torch.device("cpu"))
    tensors = {name: tensor.contiguous() for name, tensor in sgm_tensors(pipeline).items()}
    said = components.scheduler_config
    if said.get("prediction_type") == "v_prediction":
        tensors["v_pred"] = torch.zeros(0)
        if has_zero_terminal_snr(said):
            tensors["ztsnr"] = torch.zeros(0)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        with naming_write_failures(path):
            save_file(tensors, beside, metadata={"format": "pt"})  # from where the tensors are: it can be gigabytes
        compared = _compare(load_file(beside), tensors, path.name)
        beside.rename(path)
    finally:
        beside.unlink(missing_ok=True)
    return WrittenBase(path, compared)


def _compare(found: Mapping[str, Tensor], wanted: Mapping[str, Tensor], name: str) -> int:
    """How many tensors there are, all the same to the bit; DataError otherwise. Position ids are in no file's rules."""
    wanted = {key: tensor for key, tensor in wanted.items() if not key.endswith("position_ids")}
    found = {key: tensor for key, tensor in found.items() if not key.endswith("position_ids")}
    wrong = next((key for key in wanted if key not in found or not torch.equal(found[key], wanted[key].cpu())), None)
    if wrong is not None or len(found) != len(wanted):
        raise DataError(
            f"{shown(name)} was read back and differs in {shown(wrong or 'what it holds')}", remedy="Write it again."
        )
    return len(wanted)


def _refuse_other_layouts(components: SdxlComponents) -> None:
    """A single file says nothing of its layout: whoever reads it takes SDXL's own."""
    configs = read_configs(bundled.folder()).configs
    for name, part in _parts_of(components).items():
        wanted = sgm_names.empty_module(name, configs[name]).state_dict()
        expected = {key: tensor.shape for key, tensor in wanted.items()}
        found = {key: tensor.shape for key, tensor in part.state_dict().items()}
        if any(found.get(key) != shape for key, shape in expected.items() if not key.endswith("position_ids")):
            raise DataError(
                "the base is not laid out as SDXL, and one file does not say how it is",
                where="into_base",
                remedy="Name a folder in its place, without .safetensors.",
            )
