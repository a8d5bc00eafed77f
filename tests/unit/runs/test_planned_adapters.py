"""What a plan says of the adapters, counted from configurations alone, at real SDXL's size and on small bases."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.events import Event, Notice
from lorasmith.models.sdxl.linears import is_laid_out_as_sdxl
from lorasmith.runs.adapters import check_b_lora, planned_adapters
from lorasmith.testing.real_sdxl import first_text_config, second_text_config, unet_config


@pytest.fixture(scope="module")
def sdxl_configs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real SDXL's configurations without a weight."""
    folder = tmp_path_factory.mktemp("sdxl")
    configs: dict[str, dict[str, Any]] = {
        "unet": {"_class_name": "UNet2DConditionModel", **unet_config()},
        "text_encoder": first_text_config().to_dict(),
        "text_encoder_2": second_text_config().to_dict(),
        "vae": {},
        "scheduler": {},
    }
    for part, config in configs.items():
        (folder / part).mkdir()
        (folder / part / "config.json").write_text(json.dumps(config))
    for tokenizer in ("tokenizer", "tokenizer_2"):
        (folder / tokenizer).mkdir()
        (folder / tokenizer / "tokenizer_config.json").write_text("{}")
    (folder / "scheduler" / "scheduler_config.json").write_text("{}")
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionXLPipeline"}))
    return folder


def config(**adapter: Any) -> TrainConfig:
    return TrainConfig.model_validate({"adapter": adapter})


def sizes(folder: Path, **adapter: Any) -> Mapping[str, tuple[int, int]]:
    return {one.part: (one.layers, one.parameters) for one in planned_adapters(config(**adapter), folder)}


def told(adapter: dict[str, Any], folder: Path) -> list[str]:
    events: list[Event] = []
    check_b_lora(config(**adapter), folder, events.append)
    return [event.text for event in events if isinstance(event, Notice)]


@pytest.mark.parametrize("rank", [4, 16])
def test_sdxl_takes_2616320_numbers_for_each_rank_and_1451520_of_them_on_attention(
    sdxl_configs: Path, rank: int
) -> None:
    assert sizes(sdxl_configs, rank=rank) == {"denoiser": (700, 2_616_320 * rank)}
    assert sizes(sdxl_configs, rank=rank, targets="attention") == {"denoiser": (560, 1_451_520 * rank)}


def test_b_lora_is_on_attention_alone_unless_told_otherwise(sdxl_configs: Path) -> None:
    assert sizes(sdxl_configs, rank=4, b_lora=True) == {"denoiser": (160, 4 * 440_320)}
    assert sizes(sdxl_configs, rank=4, b_lora=True, targets="attention+feed-forward")["denoiser"][0] == 200


def test_sdxls_blocks_text_encoders_and_magnitudes_are_counted(sdxl_configs: Path) -> None:
    everywhere = sizes(sdxl_configs, rank=8)["denoiser"][1]
    of_attention = 6 * (1280 + 1280) + 2 * (2048 + 1280)  # keys and values of the text are 2048 wide
    of_a_layer = of_attention + (1280 + 10240) + (5120 + 1280)  # GEGLU has a gate beside each of its 5120 outputs
    in_the_middle = sizes(sdxl_configs, rank=8, blocks=("mid_block",))["denoiser"]
    assert in_the_middle == (100, 8 * 10 * of_a_layer)
    more = sizes(sdxl_configs, rank=8, block_ranks={"mid_block": 24})["denoiser"]
    assert more == (700, everywhere + 2 * in_the_middle[1])
    dora = sizes(sdxl_configs, rank=8, kind="dora", blocks=("mid_block",))["denoiser"]
    assert dora == (100, in_the_middle[1] + 10 * (8 * 1280 + 10240 + 1280))
    encoders = sizes(sdxl_configs, rank=8, text_encoders=True, text_encoder_rank=2)
    assert encoders["text_encoder_1"] == (48, 48 * 2 * 2 * 768)
    assert encoders["text_encoder_2"] == (128, 128 * 2 * 2 * 1280)


def test_b_lora_trains_two_blocks_of_sdxl_and_nothing_has_to_be_said(sdxl_configs: Path) -> None:
    layers, parameters = sizes(sdxl_configs, rank=64, b_lora=True)["denoiser"]
    assert layers == 160
    of_a_block = sizes(sdxl_configs, rank=64, blocks=("mid_block",), targets="attention")["denoiser"][1]
    assert parameters == 2 * of_a_block
    assert is_laid_out_as_sdxl(sdxl_configs)
    assert told({"b_lora": True}, sdxl_configs) == []


def test_on_another_layout_b_lora_says_that_it_goes_by_place(tiny_base: Path) -> None:
    assert not is_laid_out_as_sdxl(tiny_base)
    (notice,) = told({"b_lora": True}, tiny_base)
    assert "found on SDXL" in notice
    assert "up_blocks.0.attentions.1 style" in notice
    assert told({"b_lora": False}, tiny_base) == []


def test_a_base_without_the_two_blocks_refuses_b_lora(tmp_path: Path, sdxl_configs: Path) -> None:
    for file in sdxl_configs.rglob("*.json"):
        copy = tmp_path / file.relative_to(sdxl_configs)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    other = {**unet_config(), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D")}
    (tmp_path / "unet" / "config.json").write_text(json.dumps(other))
    with pytest.raises(ConfigError, match=r"no up_blocks\.0\.attentions\.0 and no up_blocks\.0\.attentions\.1"):
        told({"b_lora": True}, tmp_path)
    assert told({"b_lora": False}, tmp_path) == []
