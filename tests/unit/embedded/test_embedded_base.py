"""The shipped base is small, complete, and SDXL's in every convention the trainer has to respect."""

import json
from pathlib import Path
from typing import Any

from lorasmith import embedded


def config_of(part: str, name: str = "config.json") -> dict[str, Any]:
    return json.loads((embedded.path() / part / name).read_text())


def test_it_is_at_most_forty_megabytes() -> None:
    assert sum(path.stat().st_size for path in embedded.path().rglob("*") if path.is_file()) <= 40e6


def test_every_part_of_an_sdxl_pipeline_is_there() -> None:
    index = json.loads((embedded.path() / "model_index.json").read_text())
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    for part in ("text_encoder", "text_encoder_2", "unet", "vae"):
        assert list((embedded.path() / part).glob("*.safetensors"))


def test_the_configs_say_end_of_text_2_while_the_tokenizers_end_with_another_id() -> None:
    for number in ("", "_2"):
        assert config_of(f"text_encoder{number}")["eos_token_id"] == 2
        vocabulary = config_of(f"tokenizer{number}", "vocab.json")
        assert vocabulary["<|endoftext|>"] == len(vocabulary) - 1 != 2


def test_the_denoiser_takes_what_sdxls_takes() -> None:
    unet, first, second = (config_of(part) for part in ("unet", "text_encoder", "text_encoder_2"))
    assert unet["addition_embed_type"] == "text_time"
    assert unet["cross_attention_dim"] == first["hidden_size"] + second["hidden_size"]
    pooled_and_ids = second["projection_dim"] + 6 * unet["addition_time_embed_dim"]
    assert unet["projection_class_embeddings_input_dim"] == pooled_and_ids


def test_no_file_says_where_it_was_built() -> None:
    for path in Path(embedded.path()).rglob("*.json"):
        assert "_name_or_path" not in path.read_text()
