"""A tiny base, an adapter on it with weights that show, and what is said about it."""

# diffusers and peft are only partly typed.
# pyright: reportUnknownMemberType=false

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lorasmith.adapters.attach import attach_adapter, up_weights
from lorasmith.adapters.shape import AdapterKind, AdapterShape, denoiser_targets, text_encoder_targets
from lorasmith.export import AdapterWeights, ConceptRows, ExportInfo, NewTokenRows, adapter_weights
from lorasmith.sizes import Size
from lorasmith.testing import open_pipeline, tiny_pipeline

Trained = Callable[..., tuple[Any, AdapterWeights]]


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipeline(tmp_path_factory.mktemp("tiny-base"))


@pytest.fixture
def trained(tiny_base: Path) -> Trained:
    """A pipeline with adapters of alpha ≠ rank on all three parts, as if trained, and the weights taken out of it.

    `denoisers` changes the shape of the denoiser's adapter.
    """

    def make(kind: AdapterKind, **denoisers: Any) -> tuple[Any, AdapterWeights]:
        pipeline = open_pipeline(tiny_base)
        parts: Any = {
            "denoiser": pipeline.unet,
            "text_encoder_1": pipeline.text_encoder,
            "text_encoder_2": pipeline.text_encoder_2,
        }
        for name, part in parts.items():
            is_denoiser = name == "denoiser"
            targets = denoiser_targets("attention+feed-forward") if is_denoiser else text_encoder_targets()
            shape = AdapterShape(kind, 4 if is_denoiser else 3, 3.0 if is_denoiser else 1.0, 0.0, targets)
            shape = replace(shape, **denoisers) if is_denoiser else shape
            parameters = attach_adapter(part, shape, seed=0, name=name)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(1)
                for parameter in up_weights(parameters):
                    torch.nn.init.normal_(parameter, std=0.3)
                for parameter_name, parameter in parameters.items():
                    if "magnitude" in parameter_name:
                        parameter.data.mul_(1 + 0.2 * torch.rand_like(parameter))
        return pipeline, adapter_weights(parts)

    return make


@pytest.fixture
def rows() -> NewTokenRows:
    generator = torch.Generator().manual_seed(5)
    first, second = (torch.randn(2, width, generator=generator) * 0.4 for width in (32, 48))
    return NewTokenRows((ConceptRows("TOK", ("<s0>", "<s1>"), first, second),))


@pytest.fixture
def info() -> ExportInfo:
    return ExportInfo(
        name="my dog",
        base="stabilityai/stable-diffusion-xl-base-1.0",
        prediction_type="epsilon",
        resolution=Size(64, 64),
        steps=40,
        instance_prompt="a photo of TOK",
        captions=("a photo of TOK, on grass", "a photo of TOK, in snow"),
        pictures=2,
        pivot_step=20,
        optimizer="prodigy",
        rates={"denoiser": 1.0, "new_tokens": 1.0},
        seed=0,
    )
