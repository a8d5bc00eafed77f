"""Concepts are what the base has not seen; their pictures and prompts say what is in them."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lorasmith.errors import ConfigError
from lorasmith.world import (
    BACKGROUNDS,
    HELD_OUT_OBJECTS,
    HELD_OUT_STYLES,
    OBJECTS_TO_LEARN_STYLES,
    PLACES,
    REGIMES,
    SIZES,
    STYLES,
    TILTS,
    Concept,
    DrawingStyle,
    Identity,
    PlainObject,
    Regime,
    Scene,
    all_concepts,
    evaluation_prompts,
    factors_said,
    find_concept,
    render,
    rivals,
    shipped_sprites,
    standard_concepts,
    training_set,
    true_renders,
    true_scenes,
    write_training_set,
)

TEDDY = Concept(PlainObject("teddy bear"))
DOG = Concept(Identity("dog", "lime", "dots", "blue"))
PIXEL = Concept(DrawingStyle("pixel"))
by_name = pytest.mark.parametrize("concept", standard_concepts(), ids=lambda concept: concept.name)
by_kind = pytest.mark.parametrize("concept", [TEDDY, DOG, PIXEL], ids=lambda concept: concept.kind)


def test_the_standard_concepts_are_as_many_objects_as_identities_and_a_style() -> None:
    assert Counter(concept.kind for concept in standard_concepts()) == {"object": 6, "identity": 6, "style": 1}
    assert len({concept.name for concept in all_concepts()}) == len(all_concepts()) == 6 + 1 + len(HELD_OUT_OBJECTS)


@by_name
def test_a_standard_concept_is_something_nobody_was_trained_on(concept: Concept) -> None:
    match concept.subject:
        case PlainObject(thing=thing):
            assert thing in {known.name for known in HELD_OUT_OBJECTS}
        case Identity(is_private=private, pattern=pattern):
            assert private
            assert pattern != "plain"
        case DrawingStyle(style=style):
            assert style in HELD_OUT_STYLES


@by_name
def test_a_concept_is_found_by_its_name_and_by_its_name_with_dashes(concept: Concept) -> None:
    assert find_concept(concept.name) == find_concept(concept.name.replace(" ", "-")) == concept


def test_an_unknown_concept_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"'teddy'.*teddy bear, octopus"):
        find_concept("teddy")


@pytest.mark.parametrize(
    "name", ["cyan dog with red stripes", "plain-orange-mushroom", "lime-fried-egg-with-white-checks"]
)
def test_any_private_identity_is_a_concept(name: str) -> None:
    found = find_concept(name)
    assert found.name == name.replace("-", " ")
    assert found not in all_concepts()


def test_an_identity_that_the_oracle_was_trained_on_is_refused_with_others_of_its_object() -> None:
    assert not Identity("dog", "cyan", "dots", "red").is_private
    with pytest.raises(ConfigError, match="oracle was trained to read") as refused:
        find_concept("cyan-dog-with-red-dots")
    named = refused.value.problems[0].remedy
    assert named is not None
    others = named.removeprefix("Take one that was kept apart: ").rstrip(".").split(", ")
    assert all(find_concept(other).class_word == "dog" for other in others)


@by_name
def test_the_25_prompts_cover_every_value_of_every_factor(concept: Concept) -> None:
    scenes = [prompt.scene for prompt in evaluation_prompts(concept)]
    assert len(scenes) == len(set(scenes)) == 25
    assert {scene.background for scene in scenes} == set(BACKGROUNDS)
    assert {scene.size for scene in scenes} == set(SIZES)
    assert {scene.place for scene in scenes if scene.size == "small"} == set(PLACES)
    assert {scene.tilt for scene in scenes} == set(TILTS)
    assert {scene.style for scene in scenes} == ({"pixel"} if concept.kind == "style" else set(STYLES))


@by_name
def test_every_prompt_says_the_token_and_every_factor_of_its_scene(concept: Concept) -> None:
    for prompt in evaluation_prompts(concept):
        said = factors_said(prompt.text)
        scene = prompt.scene
        named = (said.background, said.size or "normal", said.place or "middle", said.tilt or "upright")
        assert named == (scene.background, scene.size, scene.place, scene.tilt)
        if concept.kind == "style":
            assert (said.noun, said.style) == (f"{scene.thing} emoji", "TOK")
        else:
            assert (said.noun, said.style) == ("TOK emoji", scene.style)


def test_every_concept_is_asked_for_the_same_factors() -> None:
    asked = {
        tuple((prompt.scene.background, prompt.scene.size, prompt.scene.tilt) for prompt in evaluation_prompts(concept))
        for concept in standard_concepts()
    }
    assert len(asked) == 1


def test_true_renders_show_the_concept_differently_each_time() -> None:
    scene = evaluation_prompts(DOG)[0].scene
    pictures = true_renders(scene, count=3)
    assert len({picture.tobytes() for picture in pictures}) == 3
    assert [picture.tobytes() for picture in pictures] == [
        picture.tobytes() for picture in true_renders(scene, count=3)
    ]
    assert {shown.identity for shown in true_scenes(scene)} == {DOG.subject}


@by_kind
def test_a_training_set_shows_the_concept_and_repeats_for_a_seed(concept: Concept) -> None:
    examples = training_set(concept, count=6, seed=3)
    assert examples == training_set(concept, count=6, seed=3)
    assert examples != training_set(concept, count=6, seed=4)
    assert all(concept.shown_in(example.scene) == example.scene for example in examples)
    assert all("TOK" in example.caption.split() for example in examples)


def test_no_training_picture_is_a_true_render() -> None:
    trained = {example.scene.jitter for regime in REGIMES for example in training_set(DOG, count=13, regime=regime)}
    assert not trained & {scene.jitter for scene in true_scenes(Scene("dog"), count=50)}


def test_a_style_is_learnt_from_other_objects_than_it_is_examined_on() -> None:
    learnt = {example.scene.thing for example in training_set(PIXEL, count=33)}
    assert learnt == set(OBJECTS_TO_LEARN_STYLES)
    assert not learnt & {prompt.scene.thing for prompt in evaluation_prompts(PIXEL)}


@pytest.mark.parametrize(
    ("regime", "shared"),
    [
        ("diverse", set[str]()),
        ("same-background", {"background"}),
        ("same-pose", {"size", "place", "tilt"}),
        ("near-duplicates", {"style", "background", "size", "place", "tilt"}),
    ],
)
def test_a_regime_shares_what_its_name_says(regime: Regime, shared: set[str]) -> None:
    scenes = [example.scene for example in training_set(TEDDY, count=12, regime=regime)]
    factors = ("style", "background", "size", "place", "tilt", "jitter")
    assert {factor for factor in factors if len({getattr(scene, factor) for scene in scenes}) == 1} == shared


@by_kind
def test_full_captions_say_what_is_in_the_picture(concept: Concept) -> None:
    for example in training_set(concept):
        assert factors_said(example.caption).background == example.scene.background


def test_shuffled_captions_are_all_there_and_each_is_another_pictures() -> None:
    right, wrong = (training_set(TEDDY, wording=wording) for wording in ("full", "shuffled"))
    assert sorted(example.caption for example in right) == sorted(example.caption for example in wrong)
    pairs = zip(right, wrong, strict=True)
    assert all(one.scene == other.scene and one.caption != other.caption for one, other in pairs)


@pytest.mark.parametrize(
    ("concept", "caption"),
    [(TEDDY, "a TOK thing emoji"), (DOG, "a TOK dog emoji"), (PIXEL, "an emoji in TOK style")],
)
def test_class_word_captions_name_no_other_factor(concept: Concept, caption: str) -> None:
    assert {example.caption for example in training_set(concept, wording="class-word")} == {caption}


def test_the_class_prompt_says_the_same_scene_without_the_token() -> None:
    scene = Scene("dog", "noto", "snow")
    assert DOG.class_prompt(scene) == "a dog emoji in noto style in the snow"
    assert PIXEL.class_prompt(scene) == "a dog emoji in the snow"
    assert Concept(PlainObject("octopus")).class_prompt(scene) == "an animal emoji in noto style in the snow"


@by_kind
def test_rivals_are_drawn_differently_in_the_same_scene(concept: Concept) -> None:
    scene = Scene("dog", "noto", "blue", jitter=2)
    own, *others = (
        np.asarray(render(shown.shown_in(scene), shipped_sprites())).astype(np.int32)
        for shown in (concept, *rivals(concept))
    )
    assert len(others) >= 3
    assert min(np.abs(other - own).mean() for other in others) > 2


def test_a_training_set_is_written_as_pictures_and_captions(tmp_path: Path) -> None:
    examples = training_set(DOG, count=3)
    paths = write_training_set(examples, tmp_path / "dog")
    assert [path.name for path in paths] == ["01.png", "02.png", "03.png"]
    for path, example in zip(paths, examples, strict=True):
        assert np.array_equal(np.asarray(Image.open(path)), np.asarray(render(example.scene, shipped_sprites())))
        assert path.with_suffix(".txt").read_text(encoding="utf-8").strip() == example.caption


def test_an_empty_training_set_is_refused() -> None:
    with pytest.raises(ValueError, match="0 pictures is none"):
        training_set(DOG, count=0)
