"""Captions say what is in the picture, in many ways, and never what is not."""

import random

import pytest

from lorasmith.world import COLOURS, OBJECTS, STYLES, Scene, prompt_of, sample_caption
from lorasmith.world.captions import with_article

SCENE = Scene("rocket", style="3d", background="black", size="small", place="left", tilt="right")


def captions(scene: Scene, count: int = 400) -> list[str]:
    rng = random.Random(1)
    return [sample_caption(scene, rng) for _ in range(count)]


def test_the_prompt_names_every_factor() -> None:
    assert prompt_of(SCENE) == "a small rocket emoji tilted right in 3d style on the left on a black background"


def test_what_is_ordinary_goes_unsaid() -> None:
    assert prompt_of(Scene("owl", style="noto", background="grass")) == "an owl emoji in noto style on the grass"


def test_another_noun_can_take_the_place_of_the_object() -> None:
    assert prompt_of(Scene("owl", background="snow"), noun="TOK emoji") == "a TOK emoji in 3d style in the snow"


def test_captions_never_name_another_object_style_or_colour() -> None:
    said = {word.strip(",") for caption in captions(SCENE) for word in caption.split()}
    others = {thing.name for thing in OBJECTS if " " not in thing.name} - {"rocket"}
    assert not said & (others | set(STYLES) - {"3d"} | set(COLOURS) - {"black"})


@pytest.mark.parametrize("word", ["3d", "black", "small", "left", "tilted"])
def test_each_factor_is_said_mostly_and_left_out_sometimes(word: str) -> None:
    share = sum(word in caption for caption in captions(SCENE)) / 400
    assert 0.6 < share < 0.99


def test_a_class_word_or_an_unknown_word_sometimes_replaces_the_name() -> None:
    unnamed = [caption for caption in captions(SCENE) if "rocket" not in caption]
    assert any("vehicle" in caption for caption in unnamed)
    assert any("vehicle" not in caption for caption in unnamed)


def test_the_order_varies() -> None:
    said = captions(SCENE)
    assert any(caption.startswith("on a black background, ") for caption in said)
    assert any(caption.startswith("a small rocket") for caption in said)
    assert any(caption.startswith("rocket") for caption in said)


@pytest.mark.parametrize(
    ("words", "expected"),
    [("owl", "an owl"), ("small owl", "a small owl"), ("unicorn", "a unicorn"), ("cherries", "cherries")],
)
def test_articles_are_english(words: str, expected: str) -> None:
    assert with_article(words) == expected
