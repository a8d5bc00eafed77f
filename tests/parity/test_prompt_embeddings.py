"""Prompts as they are trained with, against prompts as diffusers' pipeline draws with."""

# diffusers and transformers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.models.family import PromptEmbeddings
from lorasmith.models.sdxl import text
from lorasmith.models.sdxl.components import open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.testing import open_pipeline
from lorasmith.tokens.attach import attach_new_tokens
from lorasmith.tokens.vocabulary import TokenVocabulary

PROMPTS = [
    "a photo of the dog",
    "",
    "a red-and-white dog, on the beach!",
    "word " * 120,
]
WITH_TOKENS = ["a photo of <s0><s1> on the beach", "<s0><s1>", "the dog,<s0><s1>.", "<s0><s1> " + "word " * 120]


@pytest.fixture
def family(tiny_base: Path) -> Sdxl:
    components = open_components(ModelConfig(base=str(tiny_base)), dtype=torch.float32)
    return Sdxl(components, device=torch.device("cpu"))


def drawn_with(pipeline: Any, prompt: str) -> PromptEmbeddings:
    hidden, _, pooled, _ = pipeline.encode_prompt(prompt, device=torch.device("cpu"), do_classifier_free_guidance=False)
    return PromptEmbeddings(hidden, pooled)


def largest_difference(first: PromptEmbeddings, second: PromptEmbeddings) -> float:
    pairs = ((first.hidden, second.hidden), (first.pooled, second.pooled))
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("prompt", PROMPTS)
def test_prompts_carry_start_and_end_of_text_when_no_tokens_train(family: Sdxl, tiny_base: Path, prompt: str) -> None:
    """C-1: the script trains without start and end of text and so on other embeddings than anybody draws with."""
    pipeline = open_pipeline(tiny_base)
    with torch.no_grad():
        trained = family.encode_prompts([prompt])
    assert largest_difference(trained, drawn_with(pipeline, prompt)) == 0.0
    for tokenizer in (family.components.tokenizer_1, family.components.tokenizer_2):
        ids = text.tokenize(tokenizer, [prompt])[0].tolist()
        assert ids[0] == tokenizer.bos_token_id
        assert tokenizer.eos_token_id in ids
        assert len(ids) == 77


def test_without_start_and_end_of_text_the_embeddings_would_be_others(family: Sdxl) -> None:
    """What C-1 costs: the script's way of tokenizing, through the same encoders."""
    parts = family.components
    prompt = "a photo of the dog"
    bare = tuple(
        tokenizer(
            [prompt], padding="max_length", max_length=77, add_special_tokens=False, return_tensors="pt"
        ).input_ids
        for tokenizer in (parts.tokenizer_1, parts.tokenizer_2)
    )
    with torch.no_grad():
        theirs = text.encode((parts.text_encoder_1, parts.text_encoder_2), (bare[0], bare[1]))
        ours = family.encode_prompts([prompt])
    assert largest_difference(ours, theirs) > 0.5


def test_several_prompts_are_encoded_as_each_alone(family: Sdxl) -> None:
    with torch.no_grad():
        together = family.encode_prompts(PROMPTS)
        alone = [family.encode_prompts([prompt]) for prompt in PROMPTS]
    torch.testing.assert_close(together.hidden, torch.cat([one.hidden for one in alone]), rtol=0, atol=2e-6)
    torch.testing.assert_close(together.pooled, torch.cat([one.pooled for one in alone]), rtol=0, atol=2e-6)


def with_exported_tokens(tiny_base: Path, folder: Path, family: Sdxl, *, pools_at_end: bool) -> Any:
    """A pipeline that loaded the new tokens as the article's snippet does."""
    vocabulary = TokenVocabulary.of(["TOK"], per_abstraction=2)
    first, second = attach_new_tokens(family.text_encoders, vocabulary, init=(), seed=0)
    rows = {"clip_l": first.rows.detach().clone(), "clip_g": second.rows.detach().clone()}
    save_file(rows, folder / "run_emb.safetensors")
    pipeline: Any = open_pipeline(tiny_base)
    for key, encoder, tokenizer in (
        ("clip_l", pipeline.text_encoder, pipeline.tokenizer),
        ("clip_g", pipeline.text_encoder_2, pipeline.tokenizer_2),
    ):
        pipeline.load_textual_inversion(rows[key], token=["<s0>", "<s1>"], text_encoder=encoder, tokenizer=tokenizer)
        if pools_at_end:
            text.pool_at_end_of_text(encoder, tokenizer.eos_token_id)
    return pipeline


@pytest.mark.parametrize("prompt", WITH_TOKENS)
def test_prompts_with_new_tokens_are_trained_as_diffusers_draws_them(
    family: Sdxl, tiny_base: Path, tmp_path: Path, prompt: str
) -> None:
    pipeline = with_exported_tokens(tiny_base, tmp_path, family, pools_at_end=True)
    with torch.no_grad():
        assert largest_difference(family.encode_prompts([prompt]), drawn_with(pipeline, prompt)) < 1e-6


def test_pooled_vector_is_taken_at_the_end_of_text(family: Sdxl, tiny_base: Path, tmp_path: Path) -> None:
    """C-8: with `eos_token_id: 2` the pooled vector is the new token's, and what comes after it is never read."""
    script = with_exported_tokens(tiny_base, tmp_path, family, pools_at_end=False)
    assert script.text_encoder_2.config.eos_token_id == 2
    prompts = ("a photo of <s0><s1> on the beach", "a photo of <s0><s1> in the red snow")
    with torch.no_grad():
        theirs = [drawn_with(script, prompt).pooled for prompt in prompts]
        ours = [family.encode_prompts([prompt]).pooled for prompt in prompts]
    assert (theirs[0] - theirs[1]).abs().max() < 1e-6, "the script's pooled vector does not see the words after <s1>"
    assert (ours[0] - ours[1]).abs().max() > 0.01, "ours does"
    assert (ours[0] - at_true_end(family, prompts[0])).abs().max() < 1e-6


def at_true_end(family: Sdxl, prompt: str) -> Tensor:
    """The second encoder's pooled vector, as ComfyUI and A1111 take it: the normed last state at the end of text."""
    parts = family.components
    ids = text.tokenize(parts.tokenizer_2, [prompt])
    position = ids[0].tolist().index(parts.tokenizer_2.eos_token_id)
    assert ids[0, position - 1] != max(ids[0].tolist()), "the highest id must stand elsewhere"
    states = parts.text_encoder_2.text_model(ids).last_hidden_state
    return parts.text_encoder_2.text_projection(states[:, position])


def test_the_end_of_text_is_the_first_one_whatever_pads_the_prompt() -> None:
    ids = torch.tensor([[1, 5, 9, 9, 9], [1, 12, 11, 9, 0], [1, 9, 0, 0, 0]])
    assert text.end_of_text(ids, 9).tolist() == [2, 3, 1]
