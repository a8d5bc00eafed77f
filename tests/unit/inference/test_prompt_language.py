import time

import pytest

from lorasmith.inference.prompt_language import (
    LoraTag,
    has_editing,
    is_plain,
    plain_text,
    replace_embeddings,
    sections,
    without_tags,
)


def read(prompt: str) -> list[list[tuple[str, float]]]:
    return [[(piece.text, round(piece.weight, 4)) for piece in section] for section in sections(prompt)]


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("plain words", [("plain words", 1.0)]),
        ("a (word)", [("a ", 1.0), ("word", 1.1)]),
        ("a ((word))", [("a ", 1.0), ("word", 1.21)]),
        ("a [word]", [("a ", 1.0), ("word", 0.9091)]),
        ("a (word:1.2) b", [("a ", 1.0), ("word", 1.2), (" b", 1.0)]),
        ("(two words: -0.5)", [("two words", -0.5)]),
        ("(a [b] c:2)", [("a ", 2.0), ("b", 1.8182), (" c", 2.0)]),
        (r"smile \(emoji\) \[x\]", [("smile (emoji) [x]", 1.0)]),
        ("(unclosed", [("unclosed", 1.1)]),
        ("[unclosed (twice", [("unclosed ", 0.9091), ("twice", 1.0)]),
        ("never opened) here]", [("never opened) here]", 1.0)]),
        ("ratio 4:3", [("ratio 4:3", 1.0)]),
        ("(time 4:30pm)", [("time 4:30pm", 1.1)]),
        ("(a:1.2.3)", [("a:1.2.3", 1.1)]),
        ("(a:1.0) b", [("a b", 1.0)]),
        ("(<s0><s1>:1.2)", [("<s0><s1>", 1.2)]),
        ("", []),
    ],
)
def test_brackets_weigh_words_as_in_a1111(prompt: str, expected: list[tuple[str, float]]) -> None:
    assert read(prompt) == [expected]


def test_a_break_begins_another_section_also_inside_brackets() -> None:
    assert read("a dog BREAK a cat") == [[("a dog", 1.0)], [("a cat", 1.0)]]
    assert read("(a BREAK b:1.5)") == [[("a", 1.5)], [("b", 1.5)]]
    assert read("BREAKFAST at BREAKs") == [[("BREAKFAST at BREAKs", 1.0)]]
    assert read("BREAK a") == [[], [("a", 1.0)]]


def test_only_a_prompt_without_weights_and_breaks_is_plain() -> None:
    assert is_plain(sections("a (dog:1.0)"))
    assert not is_plain(sections("a (dog)"))
    assert not is_plain(sections("a BREAK dog"))
    assert plain_text(sections("a (dog:1.3) BREAK [cat]")) == "a dog cat"


def test_loras_are_taken_out_with_the_text_encoders_strength_first_as_in_a1111() -> None:
    tagged = without_tags("a dog <lora:y2k:0.9> <lyco:Ink:0.5:0.25><lora:plain> <lora:x:te=0.1:unet=0.2> end")
    assert tagged.words == "a dog    end"
    assert tagged.loras == (
        LoraTag("y2k", denoiser=0.9, text_encoders=0.9),
        LoraTag("Ink", denoiser=0.25, text_encoders=0.5),
        LoraTag("plain"),
        LoraTag("x", denoiser=0.2, text_encoders=0.1),
    )


def test_other_tags_are_taken_out_and_named_and_new_tokens_stay() -> None:
    tagged = without_tags("<s0><s1> dog <hypernet:old:1> 3 < 4")
    assert tagged.words == "<s0><s1> dog  3 < 4"
    assert tagged.unknown == ("<hypernet:old:1>",)


@pytest.mark.parametrize("strength", ["much", "nan", "inf", "11", "1e9"])
def test_a_strength_that_is_no_small_number_is_refused_with_its_tag(strength: str) -> None:
    with pytest.raises(ValueError, match=f"<lora:y2k:{strength}>"):
        without_tags(f"a <lora:y2k:{strength}>")


def test_comfyuis_embeddings_are_replaced_wherever_they_stand() -> None:
    assert replace_embeddings("(embedding:y2k_emb:1.2), embedding:sub/a.", lambda name: f"<{name}>") == (
        "(<y2k_emb>:1.2), <sub/a>."
    )
    assert replace_embeddings("an embedding: of it", str.upper) == "an embedding: of it"


def test_prompts_that_would_change_between_steps_are_told() -> None:
    assert all(map(has_editing, ("a [dog:cat:0.5]", "a [dog|cat]", "[dog:10]")))
    assert not any(map(has_editing, ("a [dog]", "a (dog:0.5)", "a dog | cat")))


@pytest.mark.parametrize(
    "piece",
    ["(", "a(", "[(a:1.1)", "\\", ":", ": 1", "<lora:", "embedding:", "[a|", "[a:1", " ", " BREAK ", ")", "<a:"],
)
def test_a_hostile_prompt_takes_no_time(piece: str) -> None:
    prompt = piece * (100_000 // len(piece))
    start = time.process_time()
    for read_it in (sections, without_tags, has_editing):
        read_it(prompt)
    replace_embeddings(prompt, str)
    assert time.process_time() - start < 10  # seconds; quadratic work would take minutes
