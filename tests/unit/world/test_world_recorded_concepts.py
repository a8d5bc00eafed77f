"""The note beside pictures of which concept they show."""

from pathlib import Path

import pytest

from lorasmith.data.examples import Role
from lorasmith.data.read import read_examples
from lorasmith.errors import ConfigError, DataError
from lorasmith.world import find_concept, training_set, write_training_set
from lorasmith.world.recorded_concepts import record_concept, recorded_concept


def test_what_was_noted_is_read_back_from_the_first_folder_that_has_a_note(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    record_concept(tmp_path, find_concept("octopus"))
    assert recorded_concept(tmp_path / "run", tmp_path) == find_concept("octopus")
    assert recorded_concept(tmp_path / "run") is None


def test_readers_of_pictures_do_not_mind_the_note(tmp_path: Path) -> None:
    concept = find_concept("octopus")
    write_training_set(training_set(concept, count=2), tmp_path)
    record_concept(tmp_path, concept)
    reading = read_examples(
        tmp_path, prompt=None, caption_column=None, role=Role.INSTANCE, pixel_limit=10_000, background="white"
    )
    assert len(reading.examples) == 2
    assert reading.notes == ()


@pytest.mark.parametrize("text", ["", "[]", "{}", "octopus"])
def test_a_note_that_says_nothing_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / ".concept.json").write_text(text)
    with pytest.raises(DataError, match="does not say a concept"):
        recorded_concept(tmp_path)


def test_a_concept_the_world_does_not_have_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".concept.json").write_text('{"concept": "griffin"}')
    with pytest.raises(ConfigError, match="griffin"):
        recorded_concept(tmp_path)
