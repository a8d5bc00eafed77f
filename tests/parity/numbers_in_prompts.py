"""Both numbers of how prompts are read: their tokens, what is pooled, new tokens in them, long ones."""

# transformers and diffusers are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from typing import Any

import script_formulae as script
import torch
from measured import CPU, Bench, Difference, cosine, share
from torch import Tensor

from lorasmith.config.base import ModelConfig
from lorasmith.config.text import TextConfig
from lorasmith.models.long_prompts import chunks
from lorasmith.models.sdxl import bundled, text
from lorasmith.models.sdxl.components import open_components
from lorasmith.models.sdxl.family import Sdxl
from lorasmith.testing import open_pipeline
from lorasmith.tokens.attach import add_to_tokenizer, attach_new_tokens
from lorasmith.tokens.vocabulary import TokenVocabulary

ONE = TokenVocabulary.of(["TOK"], per_abstraction=2)
RARE_WORD = "a photo of sks dog"
ON_THE_BEACH, IN_THE_SNOW = "a photo of <s0><s1> on the beach", "a photo of <s0><s1> in the red snow"


def tokens_without_new_tokens(bench: Bench) -> list[Difference]:
    """C-1. A rare word, as DreamBooth began, with CLIP's own words; the embeddings are the tiny base's."""
    tokenizer: Any = bundled.tokenizers().second
    ours, theirs = text.tokenize(tokenizer, [RARE_WORD]), script.ids_without_ends(tokenizer, RARE_WORD)
    drawn = tokenizer([RARE_WORD], padding="max_length", max_length=77, return_tensors="pt").input_ids
    in_place = [int((ids[0, 1:6] == drawn[0, 1:6]).sum()) for ids in (theirs, ours)]
    end = int(text.end_of_text(ours, tokenizer.eos_token_id))
    return [
        Difference("C-1", f"words of `{RARE_WORD}` at the place where they are when drawn", *in_place),
        Difference(
            "C-1", f"place that the pooled vector of `{RARE_WORD}` is read at", script.pooled_place(theirs), end
        ),
        Difference("C-1", "cosine of a prompt's pooled vector and what is drawn with", *_likeness(bench), digits=2),
    ]


def _likeness(bench: Bench) -> tuple[float, float]:
    """How near the pooled vectors of training are to the pipeline's."""
    prompt, family, pipeline = "a photo of the dog", bench.family(), open_pipeline(bench.base)
    parts = family.components
    ids = tuple(script.ids_without_ends(one, prompt) for one in (parts.tokenizer_1, parts.tokenizer_2))
    with torch.no_grad():
        drawn = pipeline.encode_prompt(prompt, device=CPU, do_classifier_free_guidance=False)[2]
        ours = family.encode_prompts([prompt]).pooled
        theirs = _pooled_at(family, ids[1], script.pooled_place(ids[1]))
    return cosine(theirs, drawn), cosine(ours, drawn)


def _pooled_at(family: Sdxl, ids: Tensor, place: int) -> Tensor:
    """The second text encoder's pooled vector [1, d] were it read at a place of ids [1, 77]."""
    encoder: Any = family.components.text_encoder_2
    states = encoder.text_model(ids).last_hidden_state
    return encoder.text_projection(states[:, place])


def pooling_with_new_tokens(bench: Bench) -> list[Difference]:
    """C-8. Two prompts that differ behind the new tokens alone; A1111 and ComfyUI pool at the end of text."""
    tokenizer: Any = bundled.tokenizers().second
    add_to_tokenizer(tokenizer, ONE.tokens, rows_in_table=len(tokenizer))
    ids = text.tokenize(tokenizer, [ON_THE_BEACH])
    end = int(text.end_of_text(ids, tokenizer.eos_token_id))
    pooled = _pooled(bench)
    each = (pooled["script"], pooled["ours"])
    moved = [((first - second).norm() / first.norm()).item() for first, second in each]
    likeness = [cosine(first, pooled["webuis"][0]) for first, _ in each]
    return [
        Difference(
            "C-8", f"place that the pooled vector of `{ON_THE_BEACH}` is read at", script.pooled_place(ids), end
        ),
        Difference("C-8", "share by which other words behind `<s1>` move that vector", *moved, digits=2),
        Difference("C-8", "cosine of that vector and the one that A1111 and ComfyUI pool", *likeness, digits=2),
    ]


def _pooled(bench: Bench) -> dict[str, list[Tensor]]:
    """The pooled vectors of both prompts: the script's, ours, and those at the end of text."""
    family = bench.family()
    attach_new_tokens(family.text_encoders, ONE, init=(), seed=0)
    tokenizer = family.components.tokenizer_2
    found: dict[str, list[Tensor]] = {"script": [], "ours": [], "webuis": []}
    with torch.no_grad():
        for prompt in (ON_THE_BEACH, IN_THE_SNOW):
            ids = text.tokenize(tokenizer, [prompt])
            found["script"].append(_pooled_at(family, ids, script.pooled_place(ids)))
            found["ours"].append(family.encode_prompts([prompt]).pooled)
            found["webuis"].append(_pooled_at(family, ids, ids[0].tolist().index(tokenizer.eos_token_id)))
    return found


def new_tokens_of_the_second_concept(bench: Bench) -> list[Difference]:
    """C-11. The script's own documented example, `--token_abstraction TOK,TOK2`."""
    del bench
    vocabulary = TokenVocabulary.of(["TOK", "TOK2"], per_abstraction=2)
    words = {abstraction.word: abstraction.written_out for abstraction in vocabulary.abstractions}
    prompts = (script.written_out("a photo of TOK2", words), vocabulary.expand("a photo of TOK2"))
    found = [sum(token in prompt for token in ("<s2>", "<s3>")) for prompt in prompts]
    return [Difference("C-11", "of TOK2's two new tokens, in `a photo of TOK2` beside TOK", *found)]


def new_tokens_in_the_final_pictures(bench: Bench) -> list[Difference]:
    """C-18. The script reloads the base for them, and its tokenizer reads `<s0>` as letters and signs."""
    training = bench.run(bench.config())
    first_id = training.new_tokens["new_tokens_1"].embedding.first_id
    tokenizers: list[Any] = [open_pipeline(bench.base).tokenizer, training.family.text_encoders[0].tokenizer]
    found = [sum(i >= first_id for i in tokenizer(ON_THE_BEACH).input_ids) for tokenizer in tokenizers]
    return [Difference("C-18", "new tokens that the prompt of the final pictures is read with, of two", *found)]


def tokens_of_a_long_caption(bench: Bench) -> list[Difference]:
    """C-37. A hundred words, with `text.long_prompts = "chunks"`."""
    del bench
    tokenizer, caption = bundled.tokenizers().first, "the " * 100
    cut = tokenizer([caption], padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    read = [int(i) not in (tokenizer.bos_token_id, tokenizer.eos_token_id) for i in cut[0]]
    ours = sum(len(chunk) for chunk in chunks(tokenizer, caption))
    what = "tokens that are read of a caption of 100, with `text.long_prompts = chunks` here"
    return [Difference("C-37", what, sum(read), ours)]


def layers_left_out(bench: Bench) -> list[Difference]:
    """C-7. `--clip_skip 1` while no text encoder is trained; the tiny base has too few layers for it."""
    del bench
    components = open_components(ModelConfig(base="embedded"), dtype=torch.float32)
    family = Sdxl(components, device=CPU, reading=TextConfig(clip_skip=1))
    ids = text.tokenize(components.tokenizer_2, ["a photo of the dog"])
    with torch.no_grad():
        read = family.encode_prompts(["a photo of the dog"]).hidden
        output: Any = components.text_encoder_2(ids, output_hidden_states=True)
    width = output.hidden_states[0].shape[-1]
    same = [bool(torch.allclose(read[..., -width:], state, atol=1e-6)) for state in output.hidden_states]
    assert share(same) == 1 / len(same), "exactly one layer is read"
    ours = len(same) - 1 - same.index(True)
    what = "last layers left out under `--clip_skip 1` while no text is trained"
    return [Difference("C-7", what, script.layers_left_out(1, text_trains=False), ours)]
