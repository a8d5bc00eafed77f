"""The factors of pictures are balanced, repeatable, and never of what is held out."""

from collections import Counter

from lorasmith.world import BACKGROUNDS, HELD_OUT_OBJECTS, HELD_OUT_STYLES, OBJECTS, STYLES, sample_scene


def test_the_same_seed_and_index_give_the_same_scene() -> None:
    assert sample_scene(3, 17) == sample_scene(3, 17)
    assert sample_scene(3, 17) != sample_scene(4, 17)


def test_every_object_is_drawn_equally_often_in_every_style() -> None:
    scenes = [sample_scene(0, index) for index in range(2 * len(OBJECTS) * len(STYLES))]
    counts = Counter((scene.thing, scene.style) for scene in scenes)
    assert len(counts) == len(OBJECTS) * len(STYLES)
    assert set(counts.values()) == {2}


def test_every_background_occurs() -> None:
    assert {sample_scene(0, index).background for index in range(600)} == set(BACKGROUNDS)


def test_only_small_objects_leave_the_middle() -> None:
    scenes = [sample_scene(0, index) for index in range(600)]
    assert {scene.size for scene in scenes if scene.place != "middle"} == {"small"}


def test_what_is_held_out_is_never_sampled() -> None:
    scenes = [sample_scene(0, index) for index in range(600)]
    assert not {scene.thing for scene in scenes} & {thing.name for thing in HELD_OUT_OBJECTS}
    assert not {scene.style for scene in scenes} & set(HELD_OUT_STYLES)


def test_at_least_twelve_objects_are_held_out_and_the_teddy_bear_is_among_them() -> None:
    assert len(HELD_OUT_OBJECTS) >= 12
    assert "teddy bear" in {thing.name for thing in HELD_OUT_OBJECTS}
