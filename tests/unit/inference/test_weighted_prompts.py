"""Weights in both text encoders, against the formula; what has no weights is read as in training, to the bit."""

from typing import Any

import pytest
import torch

from lorasmith.config.text import LongPrompts, TextConfig
from lorasmith.inference.pipeline import text_reader
from lorasmith.inference.weighted_prompts import read_weighted
from lorasmith.models.sdxl.text import TextReader

LONG = " ".join(["a red dog on the photo"] * 20)


@pytest.fixture(scope="module")
def pipeline(pristine: Any) -> Any:
    return pristine


@pytest.fixture(autouse=True)
def _without_gradients() -> Any:  # pyright: ignore[reportUnusedFunction]
    with torch.no_grad():
        yield


def reader(pipeline: Any, long_prompts: LongPrompts = "chunks", clip_skip: int = 0) -> TextReader:
    return text_reader(pipeline, TextConfig(long_prompts=long_prompts, clip_skip=clip_skip))


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_a_weight_moves_its_words_alone_away_from_no_words_in_both_encoders(pipeline: Any, clip_skip: int) -> None:
    read = reader(pipeline, clip_skip=clip_skip)
    plain, empty, weighted = read.read(["a red dog"]), read.read([""]), read_weighted(read, "a (red:1.2) dog")
    expected = plain.hidden.clone()
    expected[:, 2] = empty.hidden[:, 2] + 1.2 * (plain.hidden[:, 2] - empty.hidden[:, 2])
    torch.testing.assert_close(weighted.hidden, expected)
    width = pipeline.text_encoder.config.hidden_size
    for encoder in (slice(None, width), slice(width, None)):
        assert not torch.equal(weighted.hidden[:, 2, encoder], plain.hidden[:, 2, encoder])
    others = [place for place in range(77) if place != 2]
    assert torch.equal(weighted.hidden[:, others], plain.hidden[:, others])
    torch.testing.assert_close(weighted.pooled, plain.pooled)


def test_a_weight_below_one_and_below_zero_follow_the_same_formula(pipeline: Any) -> None:
    read = reader(pipeline)
    plain, empty = read.read(["a red dog"]).hidden[:, 2], read.read([""]).hidden[:, 2]
    for prompt, weight in (("a [red] dog", 1 / 1.1), ("a (red:0.3) dog", 0.3), ("a (red:-1) dog", -1.0)):
        torch.testing.assert_close(read_weighted(read, prompt).hidden[:, 2], empty + weight * (plain - empty))


@pytest.mark.parametrize("prompt", ["a red dog", "a (red:1.0) dog", "(a red dog:1)", r"a red dog \(photo\)", LONG])
@pytest.mark.parametrize("long_prompts", ["cut", "chunks"])
def test_without_weights_it_is_the_reading_of_training_to_the_bit(
    pipeline: Any, prompt: str, long_prompts: LongPrompts
) -> None:
    read = reader(pipeline, long_prompts)
    plain = prompt.replace(":1.0)", ")").replace(":1)", ")")
    words = plain.replace(r"\(", "«").replace(r"\)", "»").replace("(", "").replace(")", "")
    expected, found = read.read([words.replace("«", "(").replace("»", ")")]), read_weighted(read, prompt)
    assert torch.equal(found.hidden, expected.hidden)
    assert torch.equal(found.pooled, expected.pooled)


def test_a_weight_of_next_to_one_is_next_to_the_plain_prompt(pipeline: Any) -> None:
    """So that the weighted way and the plain way read the same words in the same places."""
    read = reader(pipeline)
    for prompt in ("a (red:1.000001) dog", LONG.replace("red", "(red:1.000001)")):
        plain = prompt.replace("(red:1.000001)", "red")
        torch.testing.assert_close(read_weighted(read, prompt).hidden, read.read([plain]).hidden, atol=1e-4, rtol=0)


@pytest.mark.parametrize("long_prompts", ["cut", "chunks"])
def test_a_break_starts_a_chunk_and_pools_at_the_first(pipeline: Any, long_prompts: LongPrompts) -> None:
    read = reader(pipeline, long_prompts)
    found = read_weighted(read, "a red dog BREAK a photo")
    first, second = read.read(["a red dog"]), read.read(["a photo"])
    torch.testing.assert_close(found.hidden, torch.cat([first.hidden, second.hidden], dim=1))
    torch.testing.assert_close(found.pooled, first.pooled)


def test_a_long_weighted_prompt_is_cut_or_read_in_chunks_as_a_plain_one(pipeline: Any) -> None:
    long = f"(dog:1.3) {LONG}"
    plain = long.replace("(dog:1.3)", "dog")
    for long_prompts in ("cut", "chunks"):
        read = reader(pipeline, long_prompts)
        expected, found = read.read([plain]), read_weighted(read, long)
        assert found.hidden.shape == expected.hidden.shape
        torch.testing.assert_close(found.hidden[:, 2:], expected.hidden[:, 2:])
        assert not torch.equal(found.hidden[:, 1], expected.hidden[:, 1])


def test_a_half_precision_encoder_gives_half_precision(pipeline: Any) -> None:
    encoders: list[Any] = [pipeline.text_encoder, pipeline.text_encoder_2]
    for encoder in encoders:
        encoder.to(torch.bfloat16)
    try:
        assert read_weighted(reader(pipeline), "a (red:1.2) dog").hidden.dtype == torch.bfloat16
    finally:
        for encoder in encoders:
            encoder.to(torch.float32)
