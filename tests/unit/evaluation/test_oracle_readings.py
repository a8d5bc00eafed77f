# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# safetensors is only partly typed.
"""The shipped oracle reads true pictures as their scenes say, the same every time, and opens nothing else."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from lorasmith.errors import DataError
from lorasmith.evaluation import FACTORS, Factor, Marks, Oracle, mark, open_oracle, value_of
from lorasmith.evaluation.factors import SCENE_FACTORS, VALUES, prompted_factors
from lorasmith.evaluation.oracle import to_tensor
from lorasmith.evaluation.oracle_examination import draw_scenes, examine_retrieval, fresh_scenes
from lorasmith.evaluation.oracle_layers import FactorParser, boxes_of, cropped
from lorasmith.evaluation.shipped_weights import ORACLE, weights_folder
from lorasmith.evaluation.weight_files import write_weights
from lorasmith.world import HELD_OUT_OBJECTS, PLACES, SIZES, STYLES, Identity, Place, Scene

MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def oracle() -> Oracle:
    """The one that ships."""
    return open_oracle()


@pytest.fixture(scope="module")
def fresh_marks(oracle: Oracle) -> tuple[Marks, Marks]:
    """Of scenes that it has not learnt from: objects as their art shows them, and private identities."""
    scenes = fresh_scenes(600, seed=1)
    readings = oracle.read(draw_scenes(scenes))
    assert all(scene.identity is None for scene in scenes[:300])
    return mark(readings[:300], scenes[:300]), mark(readings[300:], scenes[300:])


@pytest.mark.parametrize("factor", FACTORS)
def test_true_renders_are_read_right(fresh_marks: tuple[Marks, Marks], factor: Factor) -> None:
    objects, _ = fresh_marks
    assert objects.shares[factor] >= 0.985, objects.confusions[factor]


@pytest.mark.parametrize("factor", [factor for factor in FACTORS if factor != "style"])
def test_identities_are_read_right(fresh_marks: tuple[Marks, Marks], factor: Factor) -> None:
    _, identities = fresh_marks
    assert identities.shares[factor] >= 0.97, identities.confusions[factor]


def test_in_a_coat_a_style_is_told_among_those_a_base_knows(oracle: Oracle) -> None:
    """A coat hides what tells Noto's art from its mosaic; a base that knows no mosaics draws none."""
    scenes = [scene for scene in fresh_scenes(600, seed=1)[300:] if scene.style in STYLES]
    assert mark(oracle.among(STYLES).read(draw_scenes(scenes)), scenes, ("style",)).shares["style"] >= 0.94


def test_what_is_left_out_of_the_styles_is_never_answered(oracle: Oracle) -> None:
    scenes = [Scene(thing.name, "pixel", "blue") for thing in HELD_OUT_OBJECTS]
    readings = oracle.among(STYLES).read(draw_scenes(scenes))
    assert {reading.of("style").value for reading in readings} <= set(STYLES)
    assert {reading.of("style").value for reading in oracle.read(draw_scenes(scenes))} >= {"pixel"}


def test_held_out_objects_are_told_apart(oracle: Oracle) -> None:
    scenes = [Scene(thing.name, style, "blue", jitter=7) for thing in HELD_OUT_OBJECTS for style in VALUES["style"]]
    assert mark(oracle.read(draw_scenes(scenes)), scenes, ("thing",)).shares["thing"] >= 0.97


def test_an_identity_is_found_among_its_siblings(oracle: Oracle) -> None:
    marks = examine_retrieval(oracle, 12, seed=2)
    assert marks.candidates > 8
    assert marks.right >= 0.75


def test_a_picture_is_read_alike_alone_and_among_others(oracle: Oracle) -> None:
    pictures = draw_scenes(fresh_scenes(6, seed=3))
    among = oracle.read(pictures)
    for picture, reading in zip(pictures, among, strict=True):
        [alone] = oracle.read([picture])
        assert {factor: alone.of(factor).value for factor in FACTORS} == {
            factor: reading.of(factor).value for factor in FACTORS
        }
        assert np.allclose(alone.identity, reading.identity, atol=1e-4)
    again = oracle.read(pictures)
    assert all((one.identity == other.identity).all() for one, other in zip(among, again, strict=True))


def test_probabilities_and_embeddings_are_what_they_are_said_to_be(oracle: Oracle) -> None:
    [reading] = oracle.read(draw_scenes([Scene("dog", "noto", "red")]))
    assert (reading.of("thing").value, reading.of("background").value) == ("dog", "red")
    assert all(0 < reading.of(factor).probability <= 1 for factor in FACTORS)
    assert reading.identity.shape == (64,)
    assert np.linalg.norm(reading.identity) == pytest.approx(1, abs=1e-5)


def test_a_larger_picture_is_scaled_to_what_the_oracle_knows(oracle: Oracle) -> None:
    [picture] = draw_scenes([Scene("rocket", "3d", "yellow")])
    [reading] = oracle.read([picture.resize((256, 256), Image.Resampling.NEAREST).convert("RGBA")])
    assert reading.agrees(Scene("rocket", "3d", "yellow"), "thing", "style", "background")


def test_no_pictures_have_no_readings(oracle: Oracle) -> None:
    assert oracle.read([]) == []


def test_the_weights_are_small_and_say_what_they_reach() -> None:
    assert (weights_folder() / ORACLE).stat().st_size <= 3.0 * MEGABYTE
    assert '"through_autoencoder"' in (weights_folder() / ORACLE).with_suffix(".json").read_text(encoding="utf-8")


def test_a_missing_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not-there"):
        open_oracle(tmp_path / "not-there.safetensors")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickled", b"\xff" * 64])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "oracle.safetensors"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"oracle\.safetensors"):
        open_oracle(path)


def test_weights_of_something_else_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="does not hold the oracle"):
        open_oracle(path)


def test_weights_are_read_back_as_written(tmp_path: Path) -> None:
    torch.manual_seed(0)
    parser = FactorParser().eval()
    write_weights(tmp_path / "some.safetensors", parser)
    picture = torch.rand(2, 3, 64, 64) * 2 - 1
    [reading, _] = open_oracle(tmp_path / "some.safetensors").read(
        [Image.fromarray(((one.permute(1, 2, 0) + 1) * 127.5).round().byte().numpy()) for one in picture]
    )
    with torch.inference_mode():
        expected = parser(picture).identity[0].numpy()
    assert np.abs(reading.identity - expected).max() < 0.02


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom", "middle"])
def test_the_closer_look_falls_on_the_object(place: Place) -> None:
    [picture] = draw_scenes([Scene("apple", "noto", "white", size="small", place=place)])
    box = boxes_of(torch.tensor([SIZES.index("small")]), torch.tensor([PLACES.index(place)]))
    crop = cropped(to_tensor([picture]), box)
    ink = crop[0].amin(dim=0) < 0.5
    rows, columns = (ink.nonzero()[:, axis].float().mean().item() for axis in (0, 1))
    assert ink.float().mean() > 0.25
    assert (rows, columns) == (pytest.approx(40, abs=8), pytest.approx(40, abs=8))


def test_what_a_scene_says_of_each_factor() -> None:
    worn = Scene("dog", "noto", "red", identity=Identity("dog", "lime", "dots", "red"))
    assert [value_of(worn, factor) for factor in FACTORS] == (
        ["dog", "noto", "red", "normal", "middle", "upright", "lime", "dots", "red"]
    )
    assert [value_of(Scene("dog"), factor) for factor in ("coat", "pattern", "pattern_colour")] == (
        ["natural", "plain", "none"]
    )


def test_prompts_name_size_place_and_tilt_only_where_they_are_not_the_usual() -> None:
    assert prompted_factors(Scene("dog")) == ("thing", "style", "background")
    assert prompted_factors(Scene("dog", size="small", place="left", tilt="right")) == SCENE_FACTORS


def test_marks_count_what_was_read_otherwise(oracle: Oracle) -> None:
    readings = oracle.read(draw_scenes([Scene("dog", "noto", "red"), Scene("bus", "noto", "red")]))
    marks = mark(readings, [Scene("dog", "noto", "red"), Scene("car", "noto", "red")], ("thing", "background"))
    assert (marks.shares, marks.all_factors, marks.worst) == ({"thing": 0.5, "background": 1.0}, 0.5, "thing")
    [confusion] = marks.confusions["thing"]
    assert (confusion.true, confusion.read, confusion.count) == ("car", "bus", 1)
    with pytest.raises(ValueError, match="no readings"):
        mark([], [])
