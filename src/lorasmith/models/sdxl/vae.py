# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# diffusers' loaders are only partly typed.
"""Owns the VAE that is named beside a base: from a folder, the hub or one file; refuses one that does not fit."""

from pathlib import Path
from typing import cast

import torch
from diffusers import AutoencoderKL

from lorasmith.errors import DataError
from lorasmith.models import hub_files
from lorasmith.models.safetensors_header import read_header
from lorasmith.models.sdxl import sgm_names, single_file
from lorasmith.models.sdxl.description import BaseDescription, Config, latent_scale, read_json

_WHERE = "model.vae"
_CONFIG = "config.json"
_STEM = "diffusion_pytorch_model"


def check_vae(named: str, base: BaseDescription) -> None:
    """Refuse a VAE that does not fit the base, from its config or its file's shapes; fetches a config at most."""
    place = _locate(named, [_CONFIG])
    if place.is_file():
        _check_file(place, base)
    else:
        _check_config(named, read_json(place / _CONFIG, place, where=_WHERE), base)


def open_vae(named: str, base: BaseDescription, variant: str | None) -> AutoencoderKL:
    """The named VAE in fp32, checked against the base; `variant` is taken where there are no plain weights."""
    check_vae(named, base)
    place = _locate(named, [_CONFIG, f"{_STEM}.safetensors"])
    if place.is_file():
        names = _names_in(place)
        loaded = single_file.load_tensors(place, names, part="vae", config=base.configs["vae"], dtype=torch.float32)
        return cast(AutoencoderKL, loaded)
    if not any(place.glob("*.safetensors")) and variant:
        place = _locate(named, [_CONFIG, f"{_STEM}.{variant}.safetensors"])
    kept = _kept_variant(place, named, variant)
    return AutoencoderKL.from_pretrained(place, torch_dtype=torch.float32, use_safetensors=True, variant=kept)


def _locate(named: str, files: list[str]) -> Path:
    """A file, or a folder with `config.json` in it: a pipeline's folder stands for the VAE inside."""
    path = Path(named).expanduser()
    if path.is_dir():
        inside = path / "vae"
        return inside if not (path / _CONFIG).is_file() and inside.is_dir() else path
    if path.is_file():
        return path
    if not hub_files.looks_like_hub_id(named):
        raise DataError(
            f"there is no VAE at {named!r}", where=_WHERE,
            remedy="Give a folder, a .safetensors file, or a hub id such as `madebyollin/sdxl-vae-fp16-fix`.",
        )  # fmt: skip
    return hub_files.fetch(hub_files.HubRepository(named, None, _WHERE), files)


def _kept_variant(folder: Path, named: str, variant: str | None) -> str | None:
    """No variant where there are plain weights, as most VAEs have no other; DataError where there are none at all."""
    if (folder / f"{_STEM}.safetensors").is_file():
        return None
    if variant and (folder / f"{_STEM}.{variant}.safetensors").is_file():
        return variant
    raise DataError(
        f"{named} has no {_STEM}.safetensors (pickles are not read)", where=_WHERE,
        remedy="Use a VAE with safetensors weights.",
    )  # fmt: skip


def _check_config(named: str, config: Config, base: BaseDescription) -> None:
    kind = config.get("_class_name", "AutoencoderKL")
    if kind != "AutoencoderKL":
        raise _misfit(named, f"is a {kind} where SDXL has an AutoencoderKL")
    own = base.configs["vae"]
    _check_channels(named, int(config.get("latent_channels", 4)), base)
    found, wanted = latent_scale({"block_out_channels": (64,), **config}), latent_scale(own)
    if found != wanted:
        raise _misfit(named, f"makes one latent of {found} pixels a side and the base's own of {wanted}")
    if own.get("latents_mean") and not config.get("latents_mean"):
        raise _misfit(
            named, "has no latents_mean, and the base was trained on latents with statistics for each channel"
        )


def _check_file(path: Path, base: BaseDescription) -> None:
    """A single file says nothing but shapes: they have to be those of the base's own VAE, whose config it takes."""
    header = read_header(path, where=_WHERE)
    names = _names_in(path)
    entry = next((header.tensors[name] for name in names if name.endswith("decoder.conv_in.weight")), None)
    if entry is None or len(entry.shape) != 4:
        raise _misfit(path.name, "holds no VAE")
    _check_channels(path.name, entry.shape[1], base)
    config = base.configs["vae"]
    module = sgm_names.empty_module("vae", config)
    shapes = sgm_names.shapes_only(header, names)
    wrong = single_file.misfits_of("vae", shapes, module=module, config=config)
    if wrong:
        raise _misfit(path.name, f"is built otherwise than the base's own VAE: {wrong[0][:200]}")


def _names_in(path: Path) -> list[str]:
    """The VAE's tensors in a file of its own or in a whole checkpoint."""
    header = read_header(path, where=_WHERE)
    return sgm_names.names_of("vae", header) or [
        name for name in header.tensors if name.startswith(("encoder.", "decoder.", "quant_conv.", "post_quant_conv."))
    ]


def _check_channels(named: str, found: int, base: BaseDescription) -> None:
    wanted = int(base.configs["unet"].get("in_channels", 4))
    if found != wanted:
        raise _misfit(named, f"makes latents of {found} channels and the base's denoiser takes {wanted}")


def _misfit(named: str, reason: str) -> DataError:
    return DataError(
        f"the VAE {named} does not fit the base: it {reason}", where=_WHERE,
        remedy="Leave model.vae out to use the base's own, or name one made for it.",
    )  # fmt: skip
