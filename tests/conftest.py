"""What most tests build on: a tiny genuine base, and a run put together on it in a second."""

import copy
import time
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from pytest_socket import socket_allow_hosts
from transformers import CLIPTokenizer

from lorasmith.config.base import ModelConfig
from lorasmith.config.train import TrainConfig
from lorasmith.data.examples import Example
from lorasmith.events import ignore
from lorasmith.models.sdxl import bundled
from lorasmith.models.sdxl.components import SdxlComponents, open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.runs import pictures as run_pictures
from lorasmith.sizes import Size
from lorasmith.testing import open_pipeline, pictures, tiny_pipeline, write_sgm_file
from lorasmith.testing.fake_hub import TOKEN, FakeHub, fake_hub
from lorasmith.training.assemble import assemble
from lorasmith.training.loop import Training
from lorasmith.training.precision import resolve_precision

Sections = Mapping[str, Any]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A 64 px SDXL base with random weights that predicts noise."""
    return tiny_pipeline(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture(scope="session")
def tiny_v_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same that predicts velocity."""
    return tiny_pipeline(tmp_path_factory.mktemp("tiny-v-base"), prediction_type="v_prediction")


@pytest.fixture
def tiny_as_sdxl(tiny_base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a single file leaves out is the tiny base's instead of SDXL's: configs and tokenizers."""

    def tokenizers() -> bundled.Tokenizers:
        tokenizer: Any = CLIPTokenizer  # its loader is only partly typed
        first, second = (tokenizer.from_pretrained(tiny_base / name) for name in ("tokenizer", "tokenizer_2"))
        return bundled.Tokenizers(first, second)

    monkeypatch.setattr(bundled, "folder", lambda: tiny_base)
    monkeypatch.setattr(bundled, "tokenizers", tokenizers)


@pytest.fixture
def tiny_file(tiny_base: Path, tiny_as_sdxl: None, tmp_path: Path) -> Path:
    """The tiny base in one file, as community checkpoints are."""
    return write_sgm_file(open_pipeline(tiny_base), tmp_path / "checkpoints" / "tiny.safetensors")


@pytest.fixture(scope="session")
def opened() -> Callable[[ModelConfig, torch.dtype], SdxlComponents]:
    """A base's components of one's own; each base is read from disk once."""
    kept: dict[tuple[str, torch.dtype], SdxlComponents] = {}

    def open_once(model: ModelConfig, dtype: torch.dtype) -> SdxlComponents:
        key = (model.model_dump_json(), dtype)
        if key not in kept:
            kept[key] = open_components(model, dtype=dtype)
        return copy.deepcopy(kept[key])

    return open_once


@pytest.fixture
def small_config(tiny_base: Path, tmp_path: Path) -> Callable[..., TrainConfig]:
    """A config for a short run on the tiny base; sections given by name are laid over it."""

    def make(**sections: Sections | None) -> TrainConfig:
        folder = tmp_path / "instance"
        if not folder.exists():
            captions = [f"a photo of TOK in {colour}" for colour in ("red", "green", "blue", "white")]
            pictures(folder, 4, captions=captions)
        plain: dict[str, Sections | None] = {
            "model": {"base": str(tiny_base)},
            "data": {"instance_images": folder, "cache_folder": tmp_path / "latents"},
            "adapter": {"rank": 4},
            "schedule": {"steps": 8, "batch_size": 2},
            "output": {"folder": tmp_path / "run"},
        }
        merged = plain | {name: _over(plain.get(name), section) for name, section in sections.items()}
        return TrainConfig.model_validate(merged)

    return make


@pytest.fixture
def small_run(
    small_config: Callable[..., TrainConfig], opened: Callable[[ModelConfig, torch.dtype], SdxlComponents]
) -> Callable[..., Training]:
    """A run on four pictures before its first step, in fp32 on the CPU unless told otherwise."""

    def make(**sections: Sections | None) -> Training:
        config = small_config(**sections)
        cpu = torch.device("cpu")
        precision = resolve_precision(config.runtime.precision, cpu)
        prediction = None if config.model.prediction == "auto" else config.model.prediction
        components = opened(config.model, precision.dtype)
        family = Sdxl(components, device=cpu, prediction=prediction, reading=config.text)
        instance = run_pictures.instance_images(config, ignore)
        sets = run_pictures.deal(config, instance, _class_images(config), config.data.resolution or 64)
        steps = config.schedule.fixed_steps or 8
        return assemble(config, family, sets, steps=steps, precision=precision)

    return make


@pytest.fixture
def hub(
    socket_enabled: None, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Generator[FakeHub]:
    """A hub of the test's own on 127.0.0.1, where somebody is logged in; nothing else can be reached, nobody waits."""
    del socket_enabled
    socket_allow_hosts(["127.0.0.1"], allow_unix_socket=True)
    home = tmp_path_factory.mktemp("hub-home")
    unhurried = SimpleNamespace(sleep=_at_once, time=time.time, monotonic=time.monotonic)
    monkeypatch.setattr("huggingface_hub.utils._http.time", unhurried)
    monkeypatch.setattr("lorasmith.hub.client.WAITS", (0.0, 0.0))
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    settings = {"HF_TOKEN_PATH": str(home / "token"), "HF_HUB_DISABLE_XET": True, "HF_HUB_OFFLINE": False}
    with fake_hub() as running:
        for name, value in {**settings, "ENDPOINT": running.url}.items():
            monkeypatch.setattr(constants, name, value)
        yield running


def _at_once(seconds: float) -> None:
    """Stands for sleeping."""


def _over(below: Sections | None, above: Sections | None) -> Sections | None:
    return None if above is None else {**(below or {}), **above}


def _class_images(config: TrainConfig) -> tuple[Example, ...]:
    """The config's class images, made up here where there are none yet."""
    if config.prior is None:
        return ()
    folder = config.prior.class_images or config.output.folder.parent / "class"
    if not folder.exists():
        pictures(folder, config.prior.num_class_images, size=Size(64, 96))
    return run_pictures.class_images(config, folder)
