"""Owns `lorasmith doctor`: what this machine has of what lorasmith needs; changes nothing."""

import importlib.metadata
import platform
from collections.abc import Iterator

import typer

from lorasmith import __version__
from lorasmith.cli.talk import give
from lorasmith.errors import DataError, LorasmithError

_PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "safetensors", "huggingface_hub", "prodigyopt")


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    app.command("doctor")(doctor)


def doctor() -> None:
    """Print versions, device, cache folder and shipped base."""
    for name, found in _versions():
        give(f"{name:<16} {found}")
    # Lazy, because torch and diffusers take seconds and --help must not wait for them.
    from lorasmith.config.base import ModelConfig
    from lorasmith.data.cache import default_cache_folder
    from lorasmith.models.sdxl.components import check_is_sdxl, locate_base
    from lorasmith.training.precision import resolve_device, resolve_precision

    device = resolve_device("auto")
    give(f"{'device':<16} {device}, {resolve_precision('auto', device).name}")
    give(f"{'cache folder':<16} {default_cache_folder()}")
    try:
        base = locate_base(ModelConfig())
        check_is_sdxl(base)
    except LorasmithError as missing:
        raise DataError(
            f"the shipped base is not there: {missing.problems[0].what}", remedy="Install lorasmith again."
        ) from missing
    give(f"{'shipped base':<16} {base}")


def _versions() -> Iterator[tuple[str, str]]:
    yield "lorasmith", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    for name in _PACKAGES:
        try:
            yield name, importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield name, "missing"
