"""Sources of a merge: how they are said, found and refused."""

from pathlib import Path

import pytest

from lorasmith.errors import ConfigError, DataError
from lorasmith.runs.merge_sources import WeightedSource, open_parents


@pytest.mark.parametrize(
    ("said", "path", "weight"),
    [
        ("dog.safetensors", "dog.safetensors", 1.0),
        ("dog.safetensors:0.8", "dog.safetensors", 0.8),
        ("runs/dog:-0.5", "runs/dog", -0.5),
        ("a:b.safetensors:2", "a:b.safetensors", 2.0),
        ("a:b.safetensors", "a:b.safetensors", 1.0),
    ],
)
def test_a_weight_is_said_behind_a_colon(said: str, path: str, weight: float) -> None:
    assert WeightedSource.said(said) == WeightedSource(Path(path), weight)


def test_a_file_that_is_called_so_is_meant(tmp_path: Path) -> None:
    file = tmp_path / "dog:0.8"
    file.touch()
    assert WeightedSource.said(str(file)) == WeightedSource(file)


@pytest.mark.parametrize("weight", [0.0, float("nan"), float("inf"), 11.0])
def test_weights_out_of_bounds_are_refused(weight: float) -> None:
    with pytest.raises(ConfigError, match="weight"):
        open_parents([WeightedSource(Path("dog.safetensors"), weight)])


def test_a_place_where_nothing_is_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no file or folder"):
        open_parents([WeightedSource(tmp_path / "nowhere.safetensors")])


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    file = tmp_path / "evil.safetensors"
    file.write_bytes(b"PK\x03\x04" + bytes(64))
    with pytest.raises(DataError, match="pickle"):
        open_parents([WeightedSource(file)])
