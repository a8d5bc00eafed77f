"""Owns what a base says of its parts, in the words of the diffusers layout; reads JSON and no weights."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, cast

from lorasmith.errors import DataError

PartFolder = Literal["unet", "vae", "text_encoder", "text_encoder_2"]
Config = Mapping[str, Any]

PART_FOLDERS: tuple[PartFolder, ...] = ("unet", "vae", "text_encoder", "text_encoder_2")
FOLDERS = (*PART_FOLDERS, "tokenizer", "tokenizer_2", "scheduler")


@dataclass(frozen=True)
class BaseDescription:
    """A base's configs by part, its scheduler's, and where it lies: a folder or a single file."""

    place: Path
    configs: Mapping[PartFolder, Config]
    scheduler: Config
    zeros_for_empty_prompt: bool
    """Whether an empty negative prompt is all zeros, as SDXL's `model_index.json` says."""

    def with_config(self, part: PartFolder, config: Config) -> "BaseDescription":
        """The same with another config for one part."""
        return replace(self, configs={**self.configs, part: config})


def describe_folder(folder: Path) -> BaseDescription:
    """What a folder in the diffusers layout says; DataError when its JSON files are missing, broken or not SDXL's."""
    index = read_json(folder / "model_index.json", folder)
    missing = [name for name in FOLDERS if not (folder / name).is_dir()]
    if missing:
        raise DataError(f"the base in {folder} lacks {', '.join(missing)}", where="model.base",
                        remedy="An SDXL base has two text encoders and two tokenizers.")  # fmt: skip
    description = read_configs(folder)
    _check_parts(description, str(index.get("_class_name", "its pipeline")))
    return description


def read_configs(folder: Path) -> BaseDescription:
    """The JSON files of a folder as they stand."""
    index = read_json(folder / "model_index.json", folder)
    return BaseDescription(
        place=folder,
        configs={part: read_json(folder / part / "config.json", folder) for part in PART_FOLDERS},
        scheduler=read_json(folder / "scheduler" / "scheduler_config.json", folder),
        zeros_for_empty_prompt=bool(index.get("force_zeros_for_empty_prompt", True)),
    )


def latent_scale(vae: Config) -> int:
    """Pixels along one side of a latent."""
    return 2 ** (len(vae["block_out_channels"]) - 1)


def read_json(path: Path, folder: Path, *, where: str = "model.base") -> dict[str, Any]:
    """A JSON file of a base's folder."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(
            f"{folder} is not a base in the diffusers layout: it has no {path.relative_to(folder)}",
            where=where,
            remedy="Give a folder with model_index.json, unet, vae, text_encoder, text_encoder_2 and their tokenizers.",
        ) from error
    except (ValueError, RecursionError, OSError) as error:
        raise DataError(f"{path} is not readable JSON: {error}", where=where, remedy="Fetch the base again.") from error
    if not isinstance(found, dict):
        raise DataError(f"{path} does not hold a table", where=where, remedy="Fetch the base again.")
    return cast(dict[str, Any], found)


def _check_parts(base: BaseDescription, pipeline: str) -> None:
    """Refuse configs that are not SDXL's, or do not fit each other."""
    unet, vae = base.configs["unet"], base.configs["vae"]
    found = unet.get("addition_embed_type")
    if found != "text_time" or unet.get("_class_name", "UNet2DConditionModel") != "UNet2DConditionModel":
        raise _not_sdxl(
            base.place, f"{pipeline} has a denoiser with addition_embed_type {found!r} where SDXL has 'text_time'"
        )
    channels, latents = int(unet.get("in_channels", 4)), int(vae.get("latent_channels", 4))
    if channels != latents:
        kind = "is for inpainting" if channels == 2 * latents + 1 else "does not fit its VAE"
        raise _not_sdxl(base.place, f"its denoiser {kind}: it takes {channels} channels and the VAE gives {latents}")
    widths = [int(base.configs[name].get("hidden_size", 512)) for name in ("text_encoder", "text_encoder_2")]
    if unet.get("cross_attention_dim") != sum(widths):
        raise _not_sdxl(
            base.place,
            f"its denoiser reads text of width {unet.get('cross_attention_dim')} and its text encoders give "
            f"{widths[0]} + {widths[1]}",
        )


def _not_sdxl(place: Path, reason: str) -> DataError:
    return DataError(
        f"the base in {place} is not SDXL that can be trained: {reason}", where="model.base",
        remedy="lorasmith trains SDXL-class bases, such as stabilityai/stable-diffusion-xl-base-1.0.",
    )  # fmt: skip
