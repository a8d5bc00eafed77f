"""Owns opening what looks at pictures, by id or path, through transformers' own classes; runs no foreign code."""
# transformers is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportMissingTypeArgument=false

import json
import logging
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from lorasmith.data.wording import shown
from lorasmith.errors import DataError
from lorasmith.models.hub_files import HubRepository, fetch, looks_like_hub_id
from lorasmith.models.quiet import quiet_loading

_FILES = ("*.json", "*.txt", "*.model", "*.safetensors")
_VOCABULARIES = ("tokenizer.json", "vocab.json", "vocab.txt")
_TROUBLE = (OSError, ValueError, KeyError, TypeError, RuntimeError, ImportError, SafetensorError)
"""What transformers raises where files are missing, are another model's, or are damaged."""


def folder_of(source: str, where: str) -> Path:
    """The folder of weights: a path as it is, an id fetched from the hub. Raises DataError or HubError."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if not looks_like_hub_id(source):
        raise DataError(
            f"there is no folder {shown(source)}", where=where, remedy="Give a model's folder, or an id `owner/name`."
        )
    return fetch(HubRepository(source, None, where), _FILES)


def kind_of(folder: Path, where: str) -> str:
    """What the config beside the weights says they are, such as `blip-2`."""
    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{shown(folder)} has no config.json of a model", where=where) from error
    return str(cast(dict[str, Any], config).get("model_type", "")) if isinstance(config, dict) else ""


@contextmanager
def opening(folder: Path, wanted: str, where: str) -> Generator[None]:
    """Say what was wanted where it cannot be opened, and keep transformers' hints about torchvision back."""
    verbosity = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity(logging.ERROR)
    try:
        with quiet_loading():
            yield
    except _TROUBLE as error:
        first = (str(error).splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{shown(folder)} cannot be opened as {wanted}: {shown(first, limit=200)}",
            where=where,
            remedy="Give the folder of such a model in transformers' layout with .safetensors weights.",
        ) from error
    finally:
        transformers_logging.set_verbosity(verbosity)


def open_tokenizer(folder: Path) -> Any:
    """The tokenizer beside the weights. OSError where there is none: transformers would make an empty one up."""
    if not any((folder / name).is_file() for name in _VOCABULARIES):
        raise FileNotFoundError(f"it has none of {', '.join(_VOCABULARIES)}")
    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


def make_ready(onlooker: nn.Module, device: torch.device) -> None:
    """Put it on the device for looking at pictures: frozen, and in half precision on a GPU."""
    onlooker.to(device, torch.float16 if device.type == "cuda" else torch.float32)
    onlooker.eval().requires_grad_(False)
