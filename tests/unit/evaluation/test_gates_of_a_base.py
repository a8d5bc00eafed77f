"""What a base is asked for is balanced, and every gate holds its own number against its own limit."""

from collections import Counter

import numpy as np
import pytest

from lorasmith.evaluation import FACTORS, Factor, Guess, Reading, value_of
from lorasmith.evaluation.base_gates import Cost, base_scenes, cost_gates, reading_gates
from lorasmith.world import BACKGROUNDS, OBJECTS, STYLES, Scene

SCENES = base_scenes(201)


def as_said(scene: Scene, **otherwise: str) -> Reading:
    """A reading that agrees with the scene but for what is given."""
    guesses: dict[Factor, Guess] = {
        factor: Guess(otherwise.get(factor, value_of(scene, factor)), 0.9) for factor in FACTORS
    }
    return Reading(guesses, np.zeros(64, dtype=np.float32))


def test_every_object_is_asked_for_in_every_style() -> None:
    assert Counter((scene.thing, scene.style) for scene in SCENES) == {
        (thing.name, style): 1 for thing in OBJECTS for style in STYLES
    }


def test_backgrounds_are_in_balance_and_other_factors_vary() -> None:
    counts = Counter(scene.background for scene in SCENES)
    assert set(counts) == set(BACKGROUNDS)
    assert max(counts.values()) - min(counts.values()) <= 1
    assert len({(scene.size, scene.place, scene.tilt) for scene in SCENES}) > 8


def test_another_seed_asks_for_other_scenes() -> None:
    assert base_scenes(20) == base_scenes(20)
    assert base_scenes(20) != base_scenes(20, seed=1)


def test_pictures_as_prompted_pass() -> None:
    gates = reading_gates([as_said(scene) for scene in SCENES], SCENES, drawn="at guidance 4")
    assert [(gate.name, gate.measured, gate.is_passed) for gate in gates] == [
        (name, 1.0, True) for name in ("thing", "style", "background", "all prompted factors")
    ]
    assert all("201 pictures at guidance 4" in gate.measured_on for gate in gates)


def test_one_wrong_factor_in_ten_misses_its_gate_alone() -> None:
    readings = [
        as_said(scene, **({"thing": "unicorn"} if place % 10 == 0 else {})) for place, scene in enumerate(SCENES)
    ]
    gates = {gate.name: gate for gate in reading_gates(readings, SCENES, drawn="")}
    assert [name for name, gate in gates.items() if not gate.is_passed] == ["thing"]
    assert gates["thing"].measured == pytest.approx(180 / 201)


def test_a_wrong_size_counts_only_where_the_prompt_names_a_size() -> None:
    readings = [as_said(scene, size="small" if scene.size == "normal" else scene.size) for scene in SCENES]
    assert reading_gates(readings, SCENES, drawn="")[-1].measured == 1.0
    shrunk = [as_said(scene, size="small") for scene in SCENES]
    expected = np.mean([scene.size != "large" for scene in SCENES])
    assert reading_gates(shrunk, SCENES, drawn="")[-1].measured == pytest.approx(expected)


def test_size_and_times_pass_below_their_limits() -> None:
    assert all(gate.is_passed for gate in cost_gates(Cost(39.0, 1.9, 14.0), machine="here"))
    assert not any(gate.is_passed for gate in cost_gates(Cost(41.0, 2.1, 15.5), machine="here"))
