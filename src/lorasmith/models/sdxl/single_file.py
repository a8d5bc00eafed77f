# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
# diffusers' and safetensors' loaders are only partly typed.
"""Owns SDXL bases in one safetensors file (sgm's names, as community checkpoints have); refuses what is not one."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lorasmith.errors import DataError
from lorasmith.models.safetensors_header import Header, read_header
from lorasmith.models.sdxl import architecture, bundled, sgm_names
from lorasmith.models.sdxl.description import BaseDescription, Config, PartFolder, read_configs

_WHERE = "model.base"
_NEEDED: tuple[PartFolder, ...] = ("unet", "text_encoder", "text_encoder_2")
_V_PREDICTION = frozenset({"v", "v_prediction", "v-prediction"})


def describe_file(path: Path) -> BaseDescription:
    """What a single file is, from its header and two small tensors at most; DataError when it is no SDXL base.

    Its VAE is not looked at: another may be named in its place, see `check_has_vae`.
    """
    status = path.stat()
    return _described(path.absolute(), status.st_mtime_ns, status.st_size)


def check_has_vae(path: Path) -> None:
    """Refuse a file without a VAE, or with one that is not SDXL's."""
    header = read_header(path, where=_WHERE)
    if not sgm_names.names_of("vae", header):
        raise DataError(
            f"{header.path.name} has no VAE in it", where=_WHERE,
            remedy="Name one with model.vae, such as madebyollin/sdxl-vae-fp16-fix.",
        )  # fmt: skip
    _check_part(header, "vae", read_configs(bundled.folder()).configs["vae"])


def load_part(path: Path, part: PartFolder, config: Config, *, dtype: torch.dtype) -> nn.Module:
    """One part with its weights: mapped from the file where it has them in `dtype` already, else a copy."""
    header = read_header(path, where=_WHERE)
    return load_tensors(path, sgm_names.names_of(part, header), part=part, config=config, dtype=dtype)


def load_tensors(path: Path, names: list[str], *, part: PartFolder, config: Config, dtype: torch.dtype) -> nn.Module:
    """A part out of the named tensors of a file; DataError when they are not exactly its own."""
    module = sgm_names.empty_module(part, config)
    tensors = sgm_names.converted(part, read_tensors(path, names), module=module, config=config)
    wrong = sgm_names.misfits(tensors, module)
    if wrong:
        raise DataError(f"{path.name} does not hold {part} as SDXL has it: {wrong[0]}", where=_WHERE,
                        remedy="Take another file.")  # fmt: skip
    for name in list(tensors):
        tensors[name] = tensors[name].to(dtype)
    module.load_state_dict(tensors, strict=True, assign=True)
    _make_position_ids(module)
    return module.eval()


def misfits_of(part: PartFolder, tensors: dict[str, Tensor], *, module: nn.Module, config: Config) -> list[str]:
    """What of a file's tensors (shapes suffice) does not fit a part, in words."""
    try:
        found = sgm_names.converted(part, tensors, module=module, config=config)
    except KeyError as error:  # diffusers' converters take some tensors for granted
        return [f"{part} has no {error.args[0]}"]
    except (IndexError, AttributeError, RuntimeError) as error:
        return [f"{part} is of another shape ({error})"]
    return sgm_names.misfits(found, module)


def read_tensors(path: Path, names: list[str]) -> dict[str, Tensor]:
    """Tensors of a file, mapped, not copied; DataError when the file is broken."""
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DataError(
            f"{path.name} could not be read: {error}", where=_WHERE, remedy="Fetch it again, or name another base."
        ) from error


@lru_cache(maxsize=4)
def _described(path: Path, changed: int, size: int) -> BaseDescription:
    """Once for each state of a file: a plan asks several times, and laying out the denoiser takes a second."""
    del changed, size
    header = read_header(path, where=_WHERE)
    kind = architecture.quantization_in(header)
    if kind is not None:
        raise DataError(f"{path.name} is {kind.name}", where=_WHERE, remedy=kind.remedy)
    description = read_configs(bundled.folder())
    for part in _NEEDED:
        _check_part(header, part, description.configs[part])
    return _with_its_own_noise(description, header)


def _check_part(header: Header, part: PartFolder, config: Config) -> None:
    """Refuse a file without this part in SDXL's shapes, saying what the file is instead."""
    module = sgm_names.empty_module(part, config)
    shapes = sgm_names.shapes_only(header, sgm_names.names_of(part, header))
    wrong = misfits_of(part, shapes, module=module, config=config)
    if wrong:
        kind = architecture.kind_of(header)
        raise DataError(
            f"{header.path.name} is {kind.name}, not an SDXL base ({len(wrong)} tensors do not fit: {wrong[0][:200]})",
            where=_WHERE,
            remedy=kind.remedy,
        )


def _with_its_own_noise(description: BaseDescription, header: Header) -> BaseDescription:
    """The noise as the file's markers say it: empty or tiny tensors, the same that ComfyUI and A1111 look for."""
    described = replace(description, place=header.path)
    if {"edm_mean", "edm_std"} <= header.tensors.keys():
        vae = _playground(described.configs["vae"], header)
        return replace(described, scheduler=_PLAYGROUND).with_config("vae", vae)
    if "edm_vpred.sigma_max" in header.tensors:
        return replace(described, scheduler=_cosxl(header))
    if "v_pred" in header.tensors or _says_v_prediction(header.metadata):
        zero = "ztsnr" in header.tensors
        velocity = {"prediction_type": "v_prediction", "rescale_betas_zero_snr": zero}
        return replace(described, scheduler={**described.scheduler, **velocity})
    return described


_PLAYGROUND: dict[str, Any] = {
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "solver_type": "midpoint",
    "final_sigmas_type": "zero",
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rho": 7.0,
    "sigma_data": 0.5,
    "sigma_max": 80.0,
    "sigma_min": 0.002,
}
"""What Playground v2.5 says of its noise (arXiv 2402.17245, section 2.1)."""


def _playground(vae: Config, header: Header) -> Config:
    """The VAE's config with the statistics that the file carries, which scale latents to a spread of 0.5."""
    found = read_tensors(header.path, ["edm_mean", "edm_std"])
    mean, std = ([float(number) for number in found[name].flatten().tolist()] for name in ("edm_mean", "edm_std"))
    channels = int(vae["latent_channels"])
    if len(mean) != channels or len(std) != channels or not all(spread > 0 for spread in std):
        raise DataError(
            f"{header.path.name} has latent statistics for {len(mean)} channels and the VAE has {channels}",
            where=_WHERE, remedy="Fetch it again, or take a diffusers folder.",
        )  # fmt: skip
    return {**vae, "latents_mean": mean, "latents_std": std, "scaling_factor": 0.5}


def _cosxl(header: Header) -> dict[str, Any]:
    """CosXL's noise: velocity on EDM's sigmas, as far as the file says."""
    sigmas = {"sigma_max": 120.0, "sigma_min": 0.002}
    for name in sigmas:
        if f"edm_vpred.{name}" in header.tensors:
            (number,) = read_tensors(header.path, [f"edm_vpred.{name}"]).values()
            sigmas[name] = float(number.flatten()[0]) if number.numel() == 1 else sigmas[name]
    return {
        "_class_name": "EDMEulerScheduler",
        "num_train_timesteps": 1000,
        "prediction_type": "v_prediction",
        "sigma_data": 1.0,
        "sigma_schedule": "exponential",
        **sigmas,
    }


def _says_v_prediction(metadata: Mapping[str, str]) -> bool:
    """Whether the metadata says so; `predict_key` is what ComfyUI writes for modelspec's `prediction_type`."""
    said = metadata.get("modelspec.prediction_type") or metadata.get("modelspec.predict_key") or ""
    return said.lower() in _V_PREDICTION


def _make_position_ids(module: nn.Module) -> None:
    """0, 1, … beside the position table: no file has to hold them, and a module on the meta device has none."""
    for owner in module.modules():
        for name, ids in list(owner.named_buffers(recurse=False)):
            if name == "position_ids" and ids.is_meta:
                counted = torch.arange(ids.shape[-1]).expand(tuple(ids.shape))
                owner.register_buffer(name, counted, persistent=False)
