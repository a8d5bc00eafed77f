# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' and transformers' loaders are only partly typed.
"""Owns opening an SDXL base from a folder or the hub, and refusing what is not one; trains and draws nothing."""

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from lorasmith import embedded
from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError, HubError
from lorasmith.models.sdxl.noise import refuse_unknown_noise

_FOLDERS = ("unet", "vae", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2", "scheduler")
_WEIGHT_FOLDERS = ("unet", "vae", "text_encoder", "text_encoder_2")
_SMALL_FILES = ["model_index.json", *(f"{folder}/*.{kind}" for folder in _FOLDERS for kind in ("json", "txt"))]


@dataclass
class SdxlComponents:
    """The parts of an SDXL pipeline, each in diffusers' or transformers' own class."""

    unet: UNet2DConditionModel
    vae: AutoencoderKL
    text_encoder_1: CLIPTextModel
    text_encoder_2: CLIPTextModelWithProjection
    tokenizer_1: CLIPTokenizer
    tokenizer_2: CLIPTokenizer
    scheduler_config: dict[str, Any]
    zeros_for_empty_prompt: bool = True
    """Whether an empty negative prompt is all zeros, as SDXL's `model_index.json` says."""


def locate_base(model: ModelConfig, *, with_weights: bool = True) -> Path:
    """The base's folder in the diffusers layout; a hub id is fetched (or found in the hub's cache).

    Without weights only a hub base's small files are fetched: enough for a plan, not for opening it.
    """
    if model.base == "embedded":
        return embedded.path()
    folder = Path(model.base).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_file():
        raise DataError(
            f"{folder.name} is a single file, and a folder in the diffusers layout is needed",
            where="model.base",
            remedy="Convert it once with diffusers' `from_single_file` and `save_pretrained`.",
        )
    if model.base.count("/") != 1 or model.base.startswith((".", "/", "~")):
        raise DataError(
            f"there is no base at {model.base!r}",
            where="model.base",
            remedy="Give `embedded`, a folder in the diffusers layout, or a hub id such as "
            "`stabilityai/stable-diffusion-xl-base-1.0`.",
        )
    return _fetch(model, _SMALL_FILES + (_weight_files(model.variant) if with_weights else []))


def check_is_sdxl(folder: Path) -> None:
    """Refuse a folder that is not an SDXL base, from its small JSON files alone."""
    index = _read_json(folder / "model_index.json", folder)
    missing = [name for name in _FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise DataError(f"the base in {folder} lacks {', '.join(missing)}", where="model.base",
                        remedy="An SDXL base has two text encoders and two tokenizers.")  # fmt: skip
    unet = _read_json(folder / "unet" / "config.json", folder)
    found = unet.get("addition_embed_type")
    if found != "text_time" or unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise DataError(
            f"the base in {folder} is not SDXL: {index.get('_class_name', 'its pipeline')} has a denoiser with "
            f"addition_embed_type {found!r} where SDXL has 'text_time'",
            where="model.base",
            remedy="lorasmith trains SDXL-class bases.",
        )
    refuse_unknown_noise(_read_json(folder / "scheduler" / "scheduler_config.json", folder))


def check_has_weights(folder: Path) -> None:
    """Refuse a folder without safetensors weights, above all one with pickles."""
    for name in _WEIGHT_FOLDERS:
        _refuse_pickles(folder / name)


def is_on_this_machine(model: ModelConfig) -> bool:
    """Whether the base needs no hub."""
    return model.base == "embedded" or Path(model.base).expanduser().exists()


def open_components(model: ModelConfig, *, dtype: torch.dtype) -> SdxlComponents:
    """Load a base: denoiser and text encoders in `dtype`, the VAE in fp32 (SDXL's own overflows in fp16)."""
    folder = locate_base(model)
    check_is_sdxl(folder)
    check_has_weights(folder)
    try:
        return _load(model, folder, dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the base in {folder} could not be opened: {error}",
            where="model.base",
            remedy="Fetch it again, or name another base.",
        ) from error


def _load(model: ModelConfig, folder: Path, dtype: torch.dtype) -> SdxlComponents:
    variant = {"variant": model.variant} if model.variant else {}
    weights: dict[str, Any] = {"use_safetensors": True, **variant}
    with _quiet_loading():
        unet = UNet2DConditionModel.from_pretrained(folder, subfolder="unet", torch_dtype=dtype, **weights)
        text_encoder_1 = CLIPTextModel.from_pretrained(folder, subfolder="text_encoder", dtype=dtype, **weights)
        text_encoder_2 = CLIPTextModelWithProjection.from_pretrained(
            folder, subfolder="text_encoder_2", dtype=dtype, **weights
        )
        vae = _open_vae(model, folder, weights)
    index = _read_json(folder / "model_index.json", folder)
    return SdxlComponents(
        unet=unet,
        vae=vae,
        text_encoder_1=text_encoder_1,
        text_encoder_2=text_encoder_2,
        tokenizer_1=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2"),
        scheduler_config=_read_json(folder / "scheduler" / "scheduler_config.json", folder),
        zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", True)),
    )


@contextmanager
def _quiet_loading() -> Generator[None]:
    """No progress bars of transformers inside the block: a run has its own."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def _open_vae(model: ModelConfig, folder: Path, weights: dict[str, Any]) -> AutoencoderKL:
    if model.vae is None:
        return AutoencoderKL.from_pretrained(folder, subfolder="vae", torch_dtype=torch.float32, **weights)
    # A VAE of its own rarely has the base's variant, so the variant is not passed on.
    return AutoencoderKL.from_pretrained(model.vae, torch_dtype=torch.float32, use_safetensors=True)


def _weight_files(variant: str | None) -> list[str]:
    """The weights of one variant: a repository may hold several, and whole checkpoints in single files beside them."""
    # A variant stands before the suffix (`….fp16.safetensors`); plain files have one dot fewer in diffusers' names.
    stems = ("diffusion_pytorch_model", "model")
    kind = f".{variant}" if variant else ""
    endings = (f"{kind}.safetensors", f"{kind}-*.safetensors", f"-*{kind}.safetensors")
    return [f"{folder}/{stem}{ending}" for folder in _WEIGHT_FOLDERS for stem in stems for ending in endings]


def _fetch(model: ModelConfig, files: list[str]) -> Path:
    try:
        return Path(snapshot_download(model.base, revision=model.revision, allow_patterns=files))
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the hub has no {model.base!r}",
            where="model.base",
            remedy="Check the spelling, or log in with `hf auth login` if it is private.",
        ) from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise HubError(
            f"{model.base!r} could not be fetched: {error}",
            where="model.base",
            remedy="Check the connection, or give a local folder.",
        ) from error


def _read_json(path: Path, folder: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is not a base in the diffusers layout: it has no {path.relative_to(folder)}",
            where="model.base",
            remedy="Give a folder with model_index.json, unet, vae, text_encoder, text_encoder_2 and their tokenizers.",
        ) from error
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(
            f"{path} is not readable JSON: {error}", where="model.base", remedy="Fetch the base again."
        ) from error


def _refuse_pickles(folder: Path) -> None:
    if any(folder.glob("*.safetensors")):
        return
    pickles = sorted(file.name for file in folder.iterdir() if file.suffix in {".bin", ".ckpt", ".pt", ".pth"})
    if pickles:
        raise DataError(
            f"{folder} holds {', '.join(pickles)}, a pickle, which can run code when it is opened", where="model.base",
            remedy="Use a base with safetensors weights.",
        )  # fmt: skip
    raise DataError(f"{folder} holds no safetensors weights", where="model.base", remedy="Fetch the base again.")
