"""Prompts are read back into what they say, in any order, and nothing is added."""

import random

import pytest

from lorasmith.world import OBJECTS, Said, factors_said, prompt_of, sample_caption, sample_scene

SCENES = [sample_scene(5, index) for index in range(300)]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a TOK emoji", Said("TOK emoji", None, None, None, None, None)),
        ("an ice cream emoji on the left", Said("ice cream emoji", None, None, None, "left", None)),
        ("a small owl emoji tilted left in the snow", Said("owl emoji", None, "snow", "small", None, "left")),
        ("red background, owl, noto style, large", Said("owl", "noto", "red", "large", None, None)),
    ],
)
def test_what_is_said_is_read_and_the_rest_is_none(prompt: str, said: Said) -> None:
    assert factors_said(prompt) == said


def test_whole_prompts_give_their_scene_back() -> None:
    for scene in SCENES:
        said = factors_said(prompt_of(scene))
        assert (said.noun, said.style, said.background) == (f"{scene.thing} emoji", scene.style, scene.background)
        assert (said.size or "normal", said.place or "middle") == (scene.size, scene.place)
        assert (said.tilt or "upright") == scene.tilt


def test_a_caption_in_any_order_never_says_what_is_not_in_the_picture() -> None:
    names = {thing.name for thing in OBJECTS}
    for place, scene in enumerate(SCENES):
        said = factors_said(sample_caption(scene, random.Random(place)))
        assert said.noun.removesuffix(" emoji") not in names - {scene.thing}
        for factor in ("style", "background", "size", "place", "tilt"):
            assert getattr(said, factor) in (None, getattr(scene, factor))
