"""How prompts are read: which layer, and past the tokens that are read at once."""

# diffusers and transformers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import CLIPTokenizer

from lorasmith import embedded
from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.errors import ConfigError
from lorasmith.inference.draw import DrawRequest, DrawSettings, draw
from lorasmith.inference.pipeline import open_pipeline, text_reader
from lorasmith.models.family import Conditioning, PromptEmbeddings, stack_prompts
from lorasmith.models.long_prompts import chunk_ids, chunks, long_prompt, room
from lorasmith.models.sdxl import bundled, text
from lorasmith.models.sdxl.components import open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.sizes import Corner, Size, SizeConditioning
from lorasmith.tokens.attach import add_to_tokenizer

CPU = torch.device("cpu")
SHORT, LONG = "a red dog", "a red dog on the photo, " * 14
CHUNKS = TextConfig(long_prompts="chunks")


def small_base(reading: TextConfig) -> Sdxl:
    """The base that ships with the package: three layers, and tokenizers that read 30 tokens at once."""
    components = open_components(ModelConfig(), dtype=torch.float32)
    return Sdxl(components, device=CPU, reading=reading)


@pytest.fixture(scope="module")
def pipeline() -> Any:
    return open_pipeline(ModelConfig(), device=CPU, dtype=torch.float32)


@pytest.fixture(scope="module")
def tokenizer() -> CLIPTokenizer:
    found = text.open_tokenizer(embedded.path())
    add_to_tokenizer(found, ["<s0>", "<s1>"], rows_in_table=len(found))
    return found


def read(family: Sdxl, *prompts: str) -> PromptEmbeddings:
    with torch.no_grad():
        return family.encode_prompts(prompts)


def predicted(family: Sdxl, prompts: PromptEmbeddings) -> Tensor:
    count = len(prompts.pooled)
    latents = torch.randn(1, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    channels = int(family.components.unet.config["in_channels"])
    size = SizeConditioning(Size(64, 64), Corner(0, 0), Size(64, 64))
    with torch.no_grad():
        return family.predict(
            latents[:, :channels].expand(count, -1, -1, -1),
            torch.full((count,), 500),
            Conditioning(prompts, family.time_ids([size] * count)),
        )


@pytest.mark.parametrize("clip_skip", [0, 1])
def test_clip_skip_reads_the_layer_that_diffusers_pipeline_reads(pipeline: Any, clip_skip: int) -> None:
    family = small_base(TextConfig(clip_skip=clip_skip))
    ours = read(family, SHORT)
    with torch.no_grad():
        hidden, _, pooled, _ = pipeline.encode_prompt(
            SHORT, device=CPU, do_classifier_free_guidance=False, clip_skip=clip_skip
        )
    assert torch.equal(ours.hidden, hidden)
    assert torch.equal(ours.pooled, pooled)


def test_clip_skip_changes_what_the_denoiser_is_told_and_not_the_pooled_vector() -> None:
    plain, skipped = (read(small_base(TextConfig(clip_skip=skip)), SHORT) for skip in (0, 1))
    assert (plain.hidden - skipped.hidden).abs().max() > 0.1
    assert torch.equal(plain.pooled, skipped.pooled)


def test_leaving_out_more_layers_than_there_are_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"2 more layers .* 3 and 3 layers \(text\.clip_skip\)\. Use 0 to 1"):
        small_base(TextConfig(clip_skip=2))
    text.check_clip_skip(10, (12, 32))
    with pytest.raises(ConfigError, match="Use 0 to 10"):
        text.check_clip_skip(11, (12, 32))


@pytest.mark.parametrize("prompt", ["", SHORT, "the dog " * 15])
def test_a_prompt_that_fits_is_read_the_same_whole_and_in_chunks(prompt: str) -> None:
    cut, chunked = (read(small_base(reading), prompt) for reading in (TextConfig(), CHUNKS))
    assert torch.equal(cut.hidden, chunked.hidden)
    assert torch.equal(cut.pooled, chunked.pooled)


def test_each_chunk_is_encoded_as_a_prompt_of_its_own_and_the_first_one_is_pooled() -> None:
    family = small_base(CHUNKS)
    tokenizer = family.components.tokenizer_1
    words = [str(tokenizer.decode(chunk)) for chunk in chunks(tokenizer, LONG)]
    assert len(words) == 4
    whole, alone = read(family, LONG), [read(family, chunk) for chunk in words]
    assert whole.hidden.shape[1] == 4 * 32
    torch.testing.assert_close(whole.hidden, torch.cat([one.hidden for one in alone], dim=1), rtol=0, atol=2e-6)
    torch.testing.assert_close(whole.pooled, alone[0].pooled, rtol=0, atol=2e-6)


def test_words_past_the_first_chunk_are_read_only_in_chunks() -> None:
    for reading, is_heard in ((TextConfig(), False), (CHUNKS, True)):
        family = small_base(reading)
        one, other = read(family, f"{LONG} red"), read(family, f"{LONG} blue")
        difference = (one.hidden - other.hidden).abs().max().item()
        assert difference > 0.1 if is_heard else difference == 0.0


def test_what_the_denoiser_predicts_for_a_prompt_does_not_depend_on_a_longer_one_beside_it() -> None:
    family = small_base(CHUNKS)
    together, short, long = read(family, SHORT, LONG), read(family, SHORT), read(family, LONG)
    both = predicted(family, together)
    torch.testing.assert_close(both[:1], predicted(family, short), rtol=0, atol=1e-5)
    torch.testing.assert_close(both[1:], predicted(family, long), rtol=0, atol=1e-5)
    filled_up = PromptEmbeddings(torch.cat([short.hidden, *[read(family, "").hidden] * 3], dim=1), short.pooled)
    empty_chunks = predicted(family, filled_up)
    assert (empty_chunks - both[:1]).abs().max() > 1e-3, "as A1111 and kohya fill up, the short prompt would change"


def test_a_stack_of_prompts_falls_apart_into_what_it_was_made_of() -> None:
    family = small_base(CHUNKS)
    parts = [read(family, prompt) for prompt in (LONG, SHORT, "the dog " * 20)]
    stacked = stack_prompts(parts)
    assert stacked.lengths == (128, 32, 64)
    for before, after in zip(parts, stacked.split(), strict=True):
        assert torch.equal(before.hidden, after.hidden)
        assert torch.equal(before.pooled, after.pooled)


@pytest.mark.parametrize("reading", [TextConfig(), TextConfig(clip_skip=1), CHUNKS], ids=["plain", "skip", "chunks"])
@pytest.mark.parametrize("prompt", [SHORT, LONG])
def test_a_prompt_is_drawn_with_the_embeddings_it_is_trained_with(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch, reading: TextConfig, prompt: str
) -> None:
    seen = told_to_the_denoiser(pipeline, monkeypatch, DrawRequest(prompt, 1, settings=one_step(reading)))
    trained = read(small_base(reading), prompt)
    assert torch.equal(seen["hidden"][1:], trained.hidden)
    assert torch.equal(seen["pooled"][1:], trained.pooled)
    assert not seen["hidden"][:1].any(), "the base says that an empty negative prompt is zeros"


def test_a_negative_prompt_is_read_from_the_same_layer_and_repeated_to_the_same_length(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    reading = TextConfig(clip_skip=1, long_prompts="chunks")
    seen = told_to_the_denoiser(pipeline, monkeypatch, DrawRequest(LONG, 1, SHORT, one_step(reading)))
    negative = read(small_base(reading), SHORT)
    assert torch.equal(seen["hidden"][:1], negative.hidden.repeat(1, 4, 1))
    family = small_base(reading)
    repeated = PromptEmbeddings(negative.hidden.repeat(1, 4, 1), negative.pooled)
    torch.testing.assert_close(predicted(family, repeated), predicted(family, negative), rtol=0, atol=1e-5)


def one_step(reading: TextConfig) -> DrawSettings:
    return DrawSettings(steps=1, text=reading)


def told_to_the_denoiser(pipeline: Any, monkeypatch: pytest.MonkeyPatch, request: DrawRequest) -> dict[str, Tensor]:
    """What the denoiser hears while the request is drawn: negative prompt first."""
    seen: dict[str, Tensor] = {}
    forward = pipeline.unet.forward

    def listening(*args: Any, encoder_hidden_states: Tensor, added_cond_kwargs: dict[str, Tensor], **more: Any) -> Any:
        seen.update(hidden=encoder_hidden_states, pooled=added_cond_kwargs["text_embeds"])
        return forward(*args, encoder_hidden_states=encoder_hidden_states, added_cond_kwargs=added_cond_kwargs, **more)

    monkeypatch.setattr(pipeline.unet, "forward", listening)
    draw(pipeline, [request])
    return seen


def test_training_and_drawing_read_through_the_same_function(pipeline: Any) -> None:
    assert type(text_reader(pipeline, CHUNKS)) is type(small_base(CHUNKS).text_reader)


def test_words_that_are_cut_off_are_counted_and_shown(tokenizer: CLIPTokenizer) -> None:
    assert room(tokenizer) == 30
    assert long_prompt(tokenizer, "a dog") is None
    assert long_prompt(tokenizer, "the " * 30) is None
    found = long_prompt(tokenizer, "the " * 30 + "<s0><s1> red dog")
    assert found is not None
    assert (found.tokens, found.unread, found.chunks) == (34, 4, 2)
    assert found.unread_text == "<s0><s1>red dog"


def test_neither_new_tokens_nor_words_are_torn_at_the_border_of_a_chunk(tokenizer: CLIPTokenizer) -> None:
    ids = [tokenizer.get_vocab()[token] for token in ("<s0>", "<s1>")]
    for before in range(26, 31):
        first, second = chunks(tokenizer, "the " * before + "<s0><s1>'s red dog")
        assert (ids[0] in first) == (ids[1] in first)
        assert (ids[0] in second) != (ids[0] in first)
    torn = chunks(tokenizer, "x" * 100 + "<s0><s1>" + "x" * 100)
    assert sum(ids[0] in chunk and ids[1] in chunk for chunk in torn) == 1, "not even inside of an endless word"


def test_chunks_are_wrapped_and_padded_as_the_tokenizer_does_it(tokenizer: CLIPTokenizer) -> None:
    assert torch.equal(chunk_ids(tokenizer, SHORT), text.tokenize(tokenizer, [SHORT]))
    assert torch.equal(chunk_ids(tokenizer, ""), text.tokenize(tokenizer, [""]))
    assert chunk_ids(tokenizer, LONG).shape == (4, 32)


WORDS = st.sampled_from(["a", "red", "dog,", "<s0><s1>", "<s0><s1>'s", "photo", "x" * 40, "狗狗", "(the:1.2)", "!"])


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, max_size=70))
def test_no_token_is_lost_doubled_or_moved_by_chunks(tokenizer: CLIPTokenizer, words: list[str]) -> None:
    prompt = " ".join(words)
    found = chunks(tokenizer, prompt)
    whole: list[int] = tokenizer(prompt, add_special_tokens=False, verbose=False).input_ids
    assert [token for chunk in found for token in chunk] == whole
    assert all(len(chunk) <= 30 for chunk in found)
    assert all(found[1:]) or len(found) == 1


def test_real_size_tokenizers_read_75_tokens_at_once(tiny_base: Path) -> None:
    tokenizer = text.open_tokenizer(tiny_base)
    assert room(tokenizer) == 75
    assert [len(chunk) for chunk in chunks(tokenizer, "the " * 160)] == [75, 75, 10]


def test_clips_own_tokenizer_keeps_what_stands_beside_new_tokens() -> None:
    """Possessives, commas and a public figure's name come to the same tokens as beside any other word."""
    clip = bundled.tokenizers().first
    add_to_tokenizer(clip, ["<s0>", "<s1>"], rows_in_table=len(clip))
    found = {
        prompt: clip.tokenize(f"<s0><s1>{prompt}") for prompt in ("'s hat", ", smiling", " Scarlett Johansson's hat")
    }
    assert found == {
        "'s hat": ["<s0>", "<s1>", "'s</w>", "hat</w>"],
        ", smiling": ["<s0>", "<s1>", ",</w>", "smiling</w>"],
        " Scarlett Johansson's hat": ["<s0>", "<s1>", "scarlett</w>", "johansson</w>", "'s</w>", "hat</w>"],
    }
