"""What is drawn to examine a concept: counted, paired with the base, true to what the words say."""

import pytest

from lorasmith.evaluation.any_examination import any_examination, in_class_words
from lorasmith.evaluation.examination import FULL, QUICK, Amounts, Shot, curve_shots, shots
from lorasmith.evaluation.world_examination import WorldSubject, prompted_factors, twin_scenes, world_examination
from lorasmith.world import STYLES, Concept, Scene, all_concepts, find_concept, find_object

TEDDY = WorldSubject(find_concept("teddy-bear"), "TOK", "thing")


def seeds(found: list[Shot], role: str, *, base: bool) -> list[tuple[int, int]]:
    return [(shot.place, shot.seed) for shot in found if shot.role == role and (shot.scale is None) == base]


@pytest.mark.parametrize("amounts", [QUICK, FULL])
def test_the_base_draws_the_same_prompts_from_the_same_seeds(amounts: Amounts) -> None:
    found = shots(world_examination(TEDDY, captions=["a TOK emoji"]), amounts, scale=0.8, seed=0)
    for role in ("prompt", "bare", "class_word", "unrelated"):
        assert seeds(found, role, base=False) == seeds(found, role, base=True) != []
    assert seeds(found, "caption", base=True) == []
    assert len(seeds(found, "prompt", base=False)) == 25 * amounts.seeds


def test_no_two_prompts_share_their_noise_and_another_seed_shares_none() -> None:
    examination = world_examination(TEDDY)
    first, second = (
        {shot.seed for shot in shots(examination, FULL, scale=1.0, seed=seed) if shot.role == "prompt"}
        for seed in (0, 1)
    )
    assert len(first) == 50
    assert first.isdisjoint(second)


def test_a_point_of_the_curve_reuses_pictures_that_are_drawn_anyway() -> None:
    examination = world_examination(TEDDY)
    whole = set(shots(examination, FULL, scale=1.0, seed=0))
    assert set(curve_shots(examination, FULL, scale=1.0, seed=0)) <= whole


def test_asking_twice_asks_the_same() -> None:
    assert shots(world_examination(TEDDY), QUICK, scale=1.0, seed=3) == shots(
        world_examination(TEDDY), QUICK, scale=1.0, seed=3
    )


@pytest.mark.parametrize("concept", all_concepts(), ids=lambda concept: concept.name)
def test_prompts_name_the_token_and_the_base_s_never_do(concept: Concept) -> None:
    examination = world_examination(WorldSubject(concept, "TOK", concept.class_word))
    asked = [*examination.prompts, examination.bare]
    assert len(examination.prompts) == 25
    assert all("TOK" in one.text.split() for one in asked)
    assert not [one.base_text for one in asked if "TOK" in one.base_text or "  " in one.base_text]
    assert len(examination.unrelated) == 10
    assert all(one.text == one.base_text for one in examination.unrelated)


def test_unrelated_objects_are_of_other_categories() -> None:
    named = [asked.factors["thing"] for asked in world_examination(TEDDY).unrelated]
    assert "thing" not in {find_object(name).category for name in named}


def test_only_what_the_words_say_is_asked_for() -> None:
    assert prompted_factors(TEDDY, Scene("teddy bear", "3d", "red")) == {"style": "3d", "background": "red"}
    said = prompted_factors(TEDDY, Scene("teddy bear", "noto", "snow", "small", "left", "right"))
    assert said == {"style": "noto", "background": "snow", "size": "small", "place": "left", "tilt": "right"}


def test_of_a_style_the_object_is_asked_for_and_the_style_is_not() -> None:
    style = WorldSubject(find_concept("pixel-style"), "TOK", "emoji")
    assert prompted_factors(style, Scene("dog", "pixel", "red")) == {"thing": "dog", "background": "red"}
    assert world_examination(style).bare.base_text == "an emoji"


def test_a_concept_nobody_knows_is_asked_for_in_the_same_scenes() -> None:
    unknown = world_examination(WorldSubject(None, "TOK", "emoji"))
    known = world_examination(TEDDY)
    assert [one.text for one in unknown.prompts] == [one.text for one in known.prompts]
    assert unknown.bare.text == "a TOK emoji"
    assert unknown.bare.base_text == "an emoji"
    assert unknown.prompts[0].base_text.startswith(("an emoji", "a small emoji", "a large emoji"))


def test_twins_differ_in_their_small_variations_alone() -> None:
    scenes = [Scene("dog", jitter=1), Scene("cat", jitter=2)]
    first, second = twin_scenes(scenes, number=0), twin_scenes(scenes, number=1)
    assert [one.thing for one in first] == ["dog", "cat"]
    assert len({one.jitter for one in (*scenes, *first, *second)}) == 6


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a photo of TOK", "a photo of a dog"),
        ("a photo of TOK dog on a beach", "a photo of a dog on a beach"),
        ("a photo of a TOK dog", "a photo of a dog"),
        ("the TOK dog, asleep", "the dog, asleep"),
        ("TOK, asleep", "a dog, asleep"),
        ("a photo of TOKEN", "a photo of TOKEN"),
    ],
)
def test_the_class_word_takes_the_token_s_place(text: str, said: str) -> None:
    assert in_class_words(text, token="TOK", class_word="dog") == said


def test_an_article_fits_the_class_word() -> None:
    assert in_class_words("a photo of a TOK owl", token="TOK", class_word="owl") == "a photo of an owl"


def test_own_prompts_take_the_place_of_the_usual_ones() -> None:
    examination = any_examination(token="TOK", class_word="dog", prompts=["TOK at sea"])
    assert [(one.text, one.base_text) for one in examination.prompts] == [("TOK at sea", "a dog at sea")]
    assert examination.bare.text == "a photo of TOK dog"


@pytest.mark.parametrize("concept", all_concepts(), ids=lambda concept: concept.name)
def test_pictures_can_be_of_the_styles_a_base_knows_and_of_the_one_that_is_learnt(concept: Concept) -> None:
    styles = WorldSubject(concept, "TOK", concept.class_word).styles
    learnt = {concept.shown_in(Scene("dog")).style} if concept.kind == "style" else set[str]()
    assert set(styles) == {*STYLES, *learnt}
    assert len(styles) == len(set(styles))
