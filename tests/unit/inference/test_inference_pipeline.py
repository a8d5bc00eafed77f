# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportCallIssue=false
# diffusers' and transformers' modules are only partly typed.
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorasmith.config.base import ModelConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.inference.exports import load_concept
from lorasmith.inference.pipeline import open_pipeline, pool_at_end_of_text
from lorasmith.models.sdxl import text
from lorasmith.testing.random_export import random_export
from lorasmith.tokens.attach import add_to_tokenizer
from lorasmith.training.precision import resolve_device

PROMPT = "a photo of <s0><s1> on the red dog"


@pytest.fixture
def with_tokens(open_tiny: Callable[[], Any], tiny_base: Path, tmp_path: Path) -> Any:
    pipeline = open_tiny()
    load_concept(pipeline, random_export(tmp_path / "export", tiny_base, abstractions={"TOK": ("<s0>", "<s1>")}))
    return pipeline


def pooled(encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    """The encoder's own pooled state, before any projection."""
    inner = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        return inner(ids).pooler_output


def states(encoder: Any, ids: torch.Tensor) -> torch.Tensor:
    inner = getattr(encoder, "text_model", encoder)
    with torch.no_grad():
        return inner(ids).last_hidden_state


@pytest.mark.parametrize("number", ["", "_2"])
def test_both_encoders_pool_at_the_first_end_of_text_and_not_at_the_new_token(with_tokens: Any, number: str) -> None:
    tokenizer, encoder = getattr(with_tokens, f"tokenizer{number}"), getattr(with_tokens, f"text_encoder{number}")
    ids = text.tokenize(tokenizer, [PROMPT, "a dog"])
    at_end = states(encoder, ids)[torch.arange(2), text.end_of_text(ids, tokenizer.eos_token_id)]
    assert torch.equal(pooled(encoder, ids), at_end)
    assert ids[0].argmax() < text.end_of_text(ids, tokenizer.eos_token_id)[0]  # the trap is there

    for module in encoder.modules():
        if hasattr(module, "eos_token_id"):
            module.eos_token_id = 2  # as SDXL's configs say
    assert not torch.allclose(pooled(encoder, ids)[0], at_end[0], atol=1e-3)
    pool_at_end_of_text(with_tokens)
    assert torch.equal(pooled(encoder, ids), at_end)


def test_the_picture_is_told_the_pooled_vector_of_the_end_of_text(with_tokens: Any) -> None:
    ids = text.tokenize(with_tokens.tokenizer_2, [PROMPT])
    end = text.end_of_text(ids, with_tokens.tokenizer_2.eos_token_id)[0]
    with torch.no_grad():
        _, _, told, _ = with_tokens.encode_prompt(PROMPT, device=torch.device("cpu"), num_images_per_prompt=1)
        projected = with_tokens.text_encoder_2.text_projection(states(with_tokens.text_encoder_2, ids)[:, end])
    torch.testing.assert_close(told, projected)


@pytest.mark.parametrize("prompt", [PROMPT, "<s0><s1>", "a dog, <s0><s1>.", "a (<s0><s1>)dog", "a<s1>b"])
@pytest.mark.parametrize("number", ["", "_2"])
def test_prompts_become_the_same_ids_as_in_training(
    with_tokens: Any, open_tiny: Callable[[], Any], prompt: str, number: str
) -> None:
    trained = getattr(open_tiny(), f"tokenizer{number}")
    add_to_tokenizer(trained, ("<s0>", "<s1>"), rows_in_table=len(trained))
    loaded = getattr(with_tokens, f"tokenizer{number}")
    assert torch.equal(text.tokenize(loaded, [prompt]), text.tokenize(trained, [prompt]))


def test_a_prediction_type_that_was_asked_for_is_drawn_with(tiny_base: Path) -> None:
    cpu = torch.device("cpu")
    for prediction, expected in (("auto", "epsilon"), ("v_prediction", "v_prediction")):
        model = ModelConfig(base=str(tiny_base), prediction=prediction)  # pyright: ignore[reportArgumentType]
        pipeline = open_pipeline(model, device=cpu, dtype=torch.float32)
        assert pipeline.scheduler.config["prediction_type"] == expected


@pytest.mark.parametrize("zeros", [True, False])
def test_an_empty_negative_prompt_is_zeros_only_where_the_base_says_so(
    tiny_base: Path, tmp_path: Path, zeros: bool
) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    index = base / "model_index.json"
    index.write_text(index.read_text().replace('prompt": true', f'prompt": {str(zeros).lower()}'))
    pipeline: Any = open_pipeline(ModelConfig(base=str(base)), device=torch.device("cpu"), dtype=torch.float32)
    with torch.no_grad():
        _, negative, _, _ = pipeline.encode_prompt("a dog", device=torch.device("cpu"), num_images_per_prompt=1)
    assert bool((negative == 0).all()) is zeros


def test_a_base_of_pickles_is_refused(tiny_base: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_base, base)
    (base / "unet" / "diffusion_pytorch_model.safetensors").rename(base / "unet" / "diffusion_pytorch_model.bin")
    with pytest.raises(DataError, match="pickle"):
        open_pipeline(ModelConfig(base=str(base)), device=torch.device("cpu"), dtype=torch.float32)


def test_a_device_that_is_not_there_is_refused_with_those_that_are() -> None:
    assert resolve_device("cpu").type == "cpu"
    with pytest.raises(ConfigError, match=r"no device 'abacus' on this machine.*Use auto, .*cpu"):
        resolve_device("abacus")
