from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from diffusers.pipelines.stable_diffusion_xl.pipeline_stable_diffusion_xl import StableDiffusionXLPipeline

from lorasmith.config.base import ModelConfig
from lorasmith.inference.pipeline import open_pipeline
from lorasmith.testing import tiny_pipeline

OpenTiny = Callable[[], StableDiffusionXLPipeline]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("bases") / "tiny")


@pytest.fixture(scope="session")
def pristine(tiny_base: Path) -> StableDiffusionXLPipeline:
    return open_pipeline(ModelConfig(base=str(tiny_base)), device=torch.device("cpu"), dtype=torch.float32)


@pytest.fixture
def open_tiny(pristine: StableDiffusionXLPipeline) -> OpenTiny:
    return lambda: deepcopy(pristine)
