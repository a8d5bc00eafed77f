# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' and transformers' loaders are only partly typed.
"""Owns opening an SDXL base from a folder, one file or the hub, and refusing what is none; trains and draws nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from lorasmith import embedded
from lorasmith.config.base import ModelConfig
from lorasmith.errors import DataError
from lorasmith.models import hub_files
from lorasmith.models.quiet import quiet_loading
from lorasmith.models.sdxl import bundled
from lorasmith.models.sdxl.description import FOLDERS, PART_FOLDERS, BaseDescription, PartFolder, describe_folder
from lorasmith.models.sdxl.noise import refuse_unknown_noise
from lorasmith.models.sdxl.single_file import check_has_vae, describe_file, load_part
from lorasmith.models.sdxl.vae import check_vae, open_vae

_SMALL_FILES = ["model_index.json", *(f"{folder}/*.{kind}" for folder in FOLDERS for kind in ("json", "txt"))]


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
    """The base's folder in the diffusers layout, or its single file; a hub id is fetched, or found in the hub's cache.

    Without weights only a hub base's small files are fetched: enough for a plan, not for opening it.
    """
    if model.base == "embedded":
        return embedded.path()
    path = Path(model.base).expanduser()
    if path.exists():
        return path
    if not hub_files.looks_like_hub_id(model.base):
        raise _nothing_there(model.base)
    weights = _weight_files(model) if with_weights else []
    return hub_files.fetch(hub_files.HubRepository(model.base, model.revision, "model.base"), _SMALL_FILES + weights)


def describe(place: Path) -> BaseDescription:
    """What the base in a folder or a single file says of itself; DataError when it is not SDXL."""
    return describe_file(place) if place.is_file() else describe_folder(place)


def check_is_sdxl(place: Path) -> BaseDescription:
    """Refuse a folder or a single file that is not an SDXL base, from small JSON files or a header alone."""
    base = describe(place)
    refuse_unknown_noise(base.scheduler)
    return base


def check_base(model: ModelConfig, place: Path) -> None:
    """Refuse a base that is not SDXL, a base on this machine without its weights, and a VAE that does not fit."""
    base = check_is_sdxl(place)
    if model.vae is not None:
        check_vae(model.vae, base)
    if is_on_this_machine(model):
        check_has_weights(model, place)


def check_has_weights(model: ModelConfig, place: Path) -> None:
    """Refuse a base without safetensors weights of the wanted variant, above all one with pickles."""
    if place.is_file():
        if model.vae is None:
            check_has_vae(place)
        return
    for name in _folders_with_weights(model):
        _refuse_without_weights(place / name, model)


def is_on_this_machine(model: ModelConfig) -> bool:
    """Whether the base needs no hub."""
    return model.base == "embedded" or Path(model.base).expanduser().exists()


def with_absolute_paths(model: ModelConfig) -> ModelConfig:
    """The same base and VAE whatever folder the config is read in later."""
    changed = {
        name: str(Path(named).expanduser().resolve())
        for name, named in (("base", model.base), ("vae", model.vae))
        if named is not None and named != "embedded" and Path(named).expanduser().exists()
    }
    return model.model_copy(update=changed)


def open_components(model: ModelConfig, *, dtype: torch.dtype) -> SdxlComponents:
    """Load a base: denoiser and text encoders in `dtype`, the VAE in fp32 (SDXL's own overflows in fp16)."""
    place = locate_base(model)
    base = check_is_sdxl(place)
    check_has_weights(model, place)
    try:
        with quiet_loading():
            if place.is_file():
                return _load_file(model, base, dtype)
            return _load_folder(model, base, dtype)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the base in {place} could not be opened: {error}",
            where="model.base",
            remedy="Fetch it again, or name another base.",
        ) from error


def _load_folder(model: ModelConfig, base: BaseDescription, dtype: torch.dtype) -> SdxlComponents:
    folder = base.place
    weights: dict[str, Any] = {"use_safetensors": True, **({"variant": model.variant} if model.variant else {})}

    def load(kind: Any, name: PartFolder, **precision: torch.dtype) -> Any:
        loaded, report = kind.from_pretrained(folder, subfolder=name, output_loading_info=True, **precision, **weights)
        _refuse_made_up_weights(folder / name, report)
        return loaded

    return SdxlComponents(
        unet=load(UNet2DConditionModel, "unet", torch_dtype=dtype),
        text_encoder_1=load(CLIPTextModel, "text_encoder", dtype=dtype),
        text_encoder_2=load(CLIPTextModelWithProjection, "text_encoder_2", dtype=dtype),
        vae=open_vae(model.vae, base, model.variant) if model.vae
        else load(AutoencoderKL, "vae", torch_dtype=torch.float32),
        tokenizer_1=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer"),
        tokenizer_2=CLIPTokenizer.from_pretrained(folder, subfolder="tokenizer_2"),
        scheduler_config=dict(base.scheduler),
        zeros_for_empty_prompt=base.zeros_for_empty_prompt,
    )  # fmt: skip


def _load_file(model: ModelConfig, base: BaseDescription, dtype: torch.dtype) -> SdxlComponents:
    """One part at a time: what is mapped from the file takes no memory of its own."""

    def load(name: PartFolder, precision: torch.dtype = dtype) -> Any:
        return load_part(base.place, name, base.configs[name], dtype=precision)

    words = bundled.tokenizers()
    return SdxlComponents(
        unet=load("unet"),
        text_encoder_1=load("text_encoder"),
        text_encoder_2=load("text_encoder_2"),
        vae=open_vae(model.vae, base, model.variant) if model.vae else load("vae", torch.float32),
        tokenizer_1=words.first,
        tokenizer_2=words.second,
        scheduler_config=dict(base.scheduler),
        zeros_for_empty_prompt=base.zeros_for_empty_prompt,
    )


def _refuse_made_up_weights(folder: Path, report: Mapping[str, Any]) -> None:
    """Both libraries fill what a file lacks with random numbers and a warning."""
    missing = sorted(report.get("missing_keys", ())) or sorted(map(str, report.get("mismatched_keys", ())))
    if missing:
        raise DataError(
            f"the weights in {folder} are not whole: {len(missing)} tensors are missing or of another shape, "
            f"such as {missing[0][:200]}",
            where="model.base",
            remedy="Fetch the base again.",
        )


def _folders_with_weights(model: ModelConfig) -> list[PartFolder]:
    """The base's own VAE is not needed where another is named."""
    return [name for name in PART_FOLDERS if name != "vae" or model.vae is None]


def _weight_files(model: ModelConfig) -> list[str]:
    """The weights of one variant: a repository may hold several, and whole checkpoints in single files beside them."""
    # A variant stands before the suffix (`….fp16.safetensors`); plain files have one dot fewer in diffusers' names.
    stems = ("diffusion_pytorch_model", "model")
    endings = _endings(model.variant)
    return [
        f"{folder}/{stem}{ending}" for folder in _folders_with_weights(model) for stem in stems for ending in endings
    ]


def _endings(variant: str | None) -> tuple[str, str, str]:
    kind = f".{variant}" if variant else ""
    return (f"{kind}.safetensors", f"{kind}-*.safetensors", f"-*{kind}.safetensors")


def _refuse_without_weights(folder: Path, model: ModelConfig) -> None:
    """Refuse a part without weights of the wanted variant, saying which others or which pickles are there."""
    files = sorted(file.name for file in folder.iterdir()) if folder.is_dir() else []
    stems = ("diffusion_pytorch_model", "model")
    wanted = [f"{stem}{ending}" for stem in stems for ending in _endings(model.variant)]
    if any(fnmatch(file, pattern) for file in files for pattern in wanted):
        return
    others = [file for file in files if file.endswith(".safetensors")]
    if others:
        said = f"of the variant {model.variant}" if model.variant else "without a variant"
        raise DataError(
            f"{folder} holds no weights {said}, only {', '.join(others[:3])}", where="model.variant",
            remedy="Set model.variant to one it has, such as fp16, or leave it out for the plain files.",
        )  # fmt: skip
    pickles = [file for file in files if Path(file).suffix in {".bin", ".ckpt", ".pt", ".pth"}]
    if pickles:
        raise DataError(
            f"{folder} holds {', '.join(pickles)}, a pickle, which can run code when it is opened", where="model.base",
            remedy="Use a base with safetensors weights.",
        )  # fmt: skip
    raise DataError(f"{folder} holds no safetensors weights", where="model.base", remedy="Fetch the base again.")


def _nothing_there(base: str) -> DataError:
    remedy = (
        "Give `embedded`, a folder in the diffusers layout, a .safetensors checkpoint, or a hub id such as "
        "`stabilityai/stable-diffusion-xl-base-1.0`."
    )
    if base.lower().endswith(".safetensors") or "://" in base:
        remedy = "Fetch the file first, such as with `hf download OWNER/NAME FILE`, and give its path."
    return DataError(f"there is no base at {base!r}", where="model.base", remedy=remedy)
