"""Captions stand where the reader of pictures finds them, as `TOK` wants it, and nothing that was there gets lost."""

import json
from pathlib import Path

import pytest
from PIL import Image

from lorasmith.captioning.captioner import Frame, Manner, Seen, frame_of
from lorasmith.captioning.template import Template
from lorasmith.captioning.writing import MetadataFile, Place, place_for, standing_captions, told, writer_for
from lorasmith.data.examples import Role
from lorasmith.data.read import picture_files, read_examples
from lorasmith.errors import ConfigError, DataError


def folder_of(folder: Path, count: int = 3) -> Path:
    for number in range(count):
        Image.new("RGB", (8, 8 + number), (40 * number, 0, 0)).save(folder / f"{number}.png")
    return folder


def rows(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]


def write(folder: Path, captions: dict[str, str], place: Place | None = None) -> None:
    standing = standing_captions(folder, picture_files(folder))
    writer = writer_for(folder, standing, place_for(standing, place))
    for picture, caption in captions.items():
        writer.write(picture, caption)
    writer.flush()


def read(folder: Path) -> dict[str, str]:
    reading = read_examples(
        folder, prompt="none", caption_column=None, role=Role.INSTANCE, pixel_limit=1000, background="white"
    )
    return {one.id: one.caption for one in reading.examples}


@pytest.mark.parametrize(
    ("manner", "caption"),
    [
        ("object", "a photo of TOK, a dog on grass"),
        ("face", "a photo of TOK, a dog on grass"),
        ("character", "a TOK character, a dog on grass"),
        ("style", "a dog on grass, in the style of TOK"),
    ],
)
def test_the_token_stands_where_the_manner_wants_it(manner: Manner, caption: str) -> None:
    assert frame_of(manner, "TOK").around(" a dog\non grass ") == caption


def test_a_frame_around_nothing_has_no_loose_ends() -> None:
    assert frame_of("object", "TOK").around("") == "a photo of TOK"
    assert frame_of("style", "TOK").around(" ") == "in the style of TOK"
    assert Frame("a ", " b").around("x") == "a x b"


def test_a_template_is_filled_in_from_the_file() -> None:
    wide = Seen(Image.new("RGB", (20, 10)), "02_red-hat 13", 7)
    tall, square = Seen(Image.new("RGB", (10, 20)), "IMG", 1), Seen(Image.new("RGB", (9, 9)), "x", 2)
    said = Template("{name}, {shape}, number {number}").describe([wide, tall, square])
    assert said == ["red hat, lying, number 7", "IMG, upright, number 1", "x, square, number 2"]


@pytest.mark.parametrize("text", ["{colour}", "{name.__class__}", "{name!r}", "{number:>9999999999}", "{", "{}"])
def test_a_template_with_other_fields_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="template"):
        Template(text)


def test_new_captions_go_to_metadata_and_are_read_back(tmp_path: Path) -> None:
    write(folder_of(tmp_path), {"0.png": "a TOK", "1.png": "ein Stück “TOK”"})
    assert rows(tmp_path) == [
        {"file_name": "0.png", "text": "a TOK"}, {"file_name": "1.png", "text": "ein Stück “TOK”"},
    ]  # fmt: skip
    assert read(tmp_path) == {"0.png": "a TOK", "1.png": "ein Stück “TOK”", "2.png": "none"}


def test_other_keys_other_lines_and_their_order_stay(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "2.png", "width": 8, "prompt": ""}\n\n'
        '{"license": "mine", "file_name": "./0.png", "prompt": "x"}\n'
        '{"file_name": "1.png", "tags": ["a", "\\ud800"]}\n'
    )
    write(tmp_path, {"2.png": "two", "0.png": "zero", "1.png": "one"})
    assert rows(tmp_path) == [
        {"file_name": "2.png", "width": 8, "prompt": "two"},
        {"license": "mine", "file_name": "./0.png", "prompt": "zero"},
        {"file_name": "1.png", "tags": ["a", "\ud800"], "prompt": "one"},
    ]


def test_metadata_without_any_captions_gets_a_column_of_them(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "1.png", "score": 3}\n')
    assert standing_captions(tmp_path, picture_files(tmp_path)).captions == {}
    write(tmp_path, {"1.png": "one"})
    assert rows(tmp_path) == [{"file_name": "1.png", "score": 3, "text": "one"}]


def test_a_replaced_caption_is_replaced_where_it_stands(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "0.txt").write_text("old")
    (tmp_path / "1.caption").write_text("old")
    write(tmp_path, {"0.png": "new", "1.png": "newer", "2.png": "newest"}, "metadata")
    assert (tmp_path / "0.txt").read_text() == "new\n"
    assert (tmp_path / "1.caption").read_text() == "newer\n"
    assert rows(tmp_path) == [{"file_name": "2.png", "text": "newest"}]
    assert read(tmp_path) == {"0.png": "new", "1.png": "newer", "2.png": "newest"}


def test_where_captions_are_text_files_new_ones_are_too(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "0.txt").write_text("old")
    write(tmp_path, {"1.png": "new"})
    assert (tmp_path / "1.txt").read_text() == "new\n"
    assert not (tmp_path / "metadata.jsonl").exists()


@pytest.mark.parametrize("damage", ['{"file_name": "0.png"', '{"file_name": "gone.png", "text": "x"}', "[1]"])
def test_metadata_that_cannot_be_read_is_refused_and_left_as_it_is(tmp_path: Path, damage: str) -> None:
    folder_of(tmp_path)
    (tmp_path / "metadata.jsonl").write_text(f"{damage}\n")
    with pytest.raises(DataError):
        write(tmp_path, {"0.png": "new"})
    assert (tmp_path / "metadata.jsonl").read_text() == f"{damage}\n"


def test_a_metadata_csv_is_not_written_to(tmp_path: Path) -> None:
    folder_of(tmp_path)
    (tmp_path / "metadata.csv").write_text("file_name,text\n0.png,old\n")
    with pytest.raises(ConfigError, match=r"metadata\.csv"):
        write(tmp_path, {"1.png": "new"})
    write(tmp_path, {"1.png": "new"}, "sidecars")
    with pytest.raises(ConfigError, match=r"0\.png stands in metadata\.csv"):
        write(tmp_path, {"0.png": "new"}, "sidecars")
    assert read(tmp_path) == {"0.png": "old", "1.png": "new", "2.png": "none"}


def test_metadata_is_written_at_once_and_then_every_two_seconds(tmp_path: Path) -> None:
    now = 0.0
    file = MetadataFile(tmp_path, clock=lambda: now)
    sizes: list[int] = []
    for at in range(5):
        now = at * 0.9
        file.write(f"{at}.png", "x")
        sizes.append(len(rows(tmp_path)))
    assert sizes == [1, 1, 1, 4, 4]
    file.flush()
    assert len(rows(tmp_path)) == 5


def test_what_became_of_a_folder_is_said_also_where_there_was_nothing_to_write() -> None:
    assert told(0, 1, "metadata") == "nothing to write: 1 picture with a caption already (--overwrite replaces them)"
    assert told(2, 1, "sidecars") == "2 captions written to text files; 1 picture had a caption already, which stays"
