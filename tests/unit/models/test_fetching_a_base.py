"""Of a base on the hub a plan fetches the small files, and a run one variant of the weights and nothing beside them."""

from fnmatch import fnmatch
from pathlib import Path

import pytest

from lorasmith.config.base import ModelConfig
from lorasmith.models import hub_files
from lorasmith.models.sdxl import components
from lorasmith.models.sdxl.cost import step_cost
from lorasmith.sizes import Size

REPOSITORY = (
    "model_index.json",
    "sd_xl_base_1.0.safetensors",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/openvino_model.bin",
    "text_encoder/model.safetensors",
    "text_encoder/model.fp16.safetensors",
    "text_encoder_2/model-00001-of-00002.safetensors",
    "tokenizer/merges.txt",
    "scheduler/scheduler_config.json",
)
SMALL = {"model_index.json", "unet/config.json", "tokenizer/merges.txt", "scheduler/scheduler_config.json"}


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The repository's files that the last call asked for."""
    asked: list[str] = []

    def download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        del name, revision
        asked[:] = [file for file in REPOSITORY if any(fnmatch(file, pattern) for pattern in allow_patterns)]
        return "."

    monkeypatch.setattr(hub_files, "snapshot_download", download)
    return asked


def test_a_plan_fetches_no_weights(fetched: list[str]) -> None:
    components.locate_base(ModelConfig(base="somebody/sdxl"), with_weights=False)
    assert set(fetched) == SMALL


@pytest.mark.parametrize(
    ("variant", "weights"),
    [
        (
            None,
            {
                "unet/diffusion_pytorch_model.safetensors",
                "text_encoder/model.safetensors",
                "text_encoder_2/model-00001-of-00002.safetensors",
            },
        ),
        ("fp16", {"unet/diffusion_pytorch_model.fp16.safetensors", "text_encoder/model.fp16.safetensors"}),
    ],
)
def test_a_run_fetches_one_variant_and_no_single_file(
    fetched: list[str], variant: str | None, weights: set[str]
) -> None:
    components.locate_base(ModelConfig(base="somebody/sdxl", variant=variant))
    assert set(fetched) == SMALL | weights


def test_the_cost_of_a_step_needs_no_weight_files(tiny_base: Path, tmp_path: Path) -> None:
    for file in tiny_base.rglob("*.json"):
        copy = tmp_path / file.relative_to(tiny_base)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(file.read_bytes())
    spent = step_cost(tmp_path, Size(64, 64))
    assert spent == step_cost(tiny_base, Size(64, 64))
    assert spent.text_encoder_parameters > 100_000
    assert spent.vae_parameters > 10_000
