"""A folder becomes examples with the right captions, or one clear report of all that is wrong with it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from made_pictures import RED, gradient, plain, png, save

from lorasmith.data.examples import Role
from lorasmith.data.read import Reading, read_examples, refuse_or_leave_out
from lorasmith.errors import ConfigError, DataError
from lorasmith.sizes import Size


def read(folder: Path, *, prompt: str | None = "a photo of TOK", column: str | None = None) -> Reading:
    return read_examples(
        folder,
        prompt=prompt,
        caption_column=column,
        role=Role.INSTANCE,
        pixel_limit=1_000_000,
        background="white",
    )


def refusal(folder: Path, *, prompt: str | None = "a photo of TOK", column: str | None = None) -> str:
    with pytest.raises(DataError) as refused:
        read(folder, prompt=prompt, column=column)
    return str(refused.value)


def captions(reading: Reading) -> dict[str, str]:
    return {example.id: example.caption for example in reading.examples}


def pictures(folder: Path, *names: str) -> None:
    for number, name in enumerate(names):
        save(gradient(16 + number, 16), folder / name)


def metadata(folder: Path, *rows: Mapping[str, Any]) -> None:
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metadata.jsonl").write_text(lines, encoding="utf-8")


# ---- what is found


def test_pictures_are_read_in_order_of_their_names_with_size_and_content(tmp_path: Path) -> None:
    pictures(tmp_path, "b.png", "a.jpg", "c.webp", "d.BMP")
    reading = read(tmp_path)
    assert [example.id for example in reading.examples] == ["a.jpg", "b.png", "c.webp", "d.BMP"]
    assert reading.examples[0].size == Size(height=16, width=17)
    assert len({example.content for example in reading.examples}) == 4
    assert read(tmp_path) == reading


def test_content_follows_the_bytes_not_the_name(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    before = read(tmp_path).examples[0].content
    (tmp_path / "a.png").rename(tmp_path / "b.png")
    assert read(tmp_path).examples[0].content == before
    save(plain(RED), tmp_path / "b.png")
    assert read(tmp_path).examples[0].content != before


def test_a_picture_without_a_suffix_is_found_by_its_content(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "a.png").rename(tmp_path / "holiday")
    assert [example.id for example in read(tmp_path).examples] == ["holiday"]


def test_files_that_belong_beside_pictures_are_left_alone_silently_and_others_are_noted(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    for silent in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png", ".hidden.png", "a.txt"):
        (tmp_path / silent).write_text("x", encoding="utf-8")
    assert read(tmp_path).notes == ()
    (tmp_path / "list.docx").write_text("x", encoding="utf-8")
    (tmp_path / "stray.txt").write_text("x", encoding="utf-8")
    assert read(tmp_path).notes == ("2 files left alone, not a picture: list.docx, stray.txt",)


def test_sub_folders_are_noted_and_not_searched(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    pictures(tmp_path / "more", "b.png")
    (tmp_path / ".git").mkdir()
    reading = read(tmp_path)
    assert list(captions(reading)) == ["a.png"]
    assert reading.notes == ("1 sub-folder not searched: more",)


def test_the_same_picture_twice_is_noted(tmp_path: Path) -> None:
    save(plain(RED), tmp_path / "a.png")
    save(plain(RED), tmp_path / "b.png")
    assert read(tmp_path).notes == ("the same picture 2 times: a.png, b.png",)


# ---- captions


def test_without_captions_all_pictures_take_the_prompt_and_nobody_is_bothered(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    reading = read(tmp_path, prompt="  a photo of TOK ")
    assert captions(reading) == {"a.png": "a photo of TOK", "b.png": "a photo of TOK"}
    assert reading.notes == ()


def test_files_of_the_same_name_hold_captions(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.jpg")
    (tmp_path / "a.txt").write_text("\ufeffTOK on\n  a  table\n", encoding="utf-8")
    (tmp_path / "b.caption").write_text("TOK im Grünen", encoding="utf-8")
    assert captions(read(tmp_path, prompt=None)) == {"a.png": "TOK on a table", "b.jpg": "TOK im Grünen"}


@pytest.mark.parametrize("column", ["text", "prompt", "caption"])
def test_metadata_lines_hold_captions_in_one_of_the_usual_columns(tmp_path: Path, column: str) -> None:
    pictures(tmp_path, "a.png", "b.png")
    metadata(tmp_path, {"file_name": "b.png", column: "B"}, {"file_name": "./a.png", column: "A"})
    assert captions(read(tmp_path, prompt=None)) == {"a.png": "A", "b.png": "B"}


def test_the_named_column_comes_before_the_usual_ones(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "usual", "blip": "named"})
    assert captions(read(tmp_path, column="blip")) == {"a.png": "named"}
    assert captions(read(tmp_path)) == {"a.png": "usual"}


def test_a_csv_file_holds_captions_with_commas_and_quotes(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    text = '\ufefffile_name,text\r\na.png,"TOK, seen ""from above"""\r\n\r\nb.png,TOK\r\n'
    (tmp_path / "metadata.csv").write_bytes(text.encode())
    assert captions(read(tmp_path, prompt=None)) == {"a.png": 'TOK, seen "from above"', "b.png": "TOK"}


def test_metadata_may_name_pictures_in_sub_folders(tmp_path: Path) -> None:
    pictures(tmp_path / "train", "a.png")
    metadata(tmp_path, {"file_name": "train/a.png", "text": "A"})
    reading = read(tmp_path)
    assert captions(reading) == {"train/a.png": "A"}
    assert reading.notes == ()


def test_pictures_without_a_caption_take_the_prompt_and_it_is_noted(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    metadata(tmp_path, {"file_name": "a.png", "text": " "}, {"file_name": "b.png", "text": "B"})
    reading = read(tmp_path, prompt="P")
    assert captions(reading) == {"a.png": "P", "b.png": "B", "c.png": "P"}
    assert reading.notes == (
        "1 caption empty, so the prompt is used: a.png",
        "1 picture without a caption, so the prompt is used: c.png",
    )


def test_an_empty_caption_in_the_metadata_leaves_room_for_a_file_beside(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": None})
    (tmp_path / "a.txt").write_text("A", encoding="utf-8")
    assert captions(read(tmp_path)) == {"a.png": "A"}


def test_captions_that_agree_may_be_said_twice_and_those_that_differ_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "TOK here"})
    (tmp_path / "a.txt").write_text("TOK  here\n", encoding="utf-8")
    assert captions(read(tmp_path)) == {"a.png": "TOK here"}
    (tmp_path / "a.txt").write_text("TOK there", encoding="utf-8")
    said = refusal(tmp_path)
    assert "a.png has captions that differ: metadata.jsonl:1 says 'TOK here'; a.txt says 'TOK there'" in said


def test_two_files_of_the_same_name_that_differ_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "a.txt").write_text("one", encoding="utf-8")
    (tmp_path / "a.caption").write_text("two", encoding="utf-8")
    assert "a.txt says 'one'; a.caption says 'two'" in refusal(tmp_path)


def test_two_metadata_lines_about_one_picture_that_differ_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "one"}, {"file_name": "a.png", "text": "two"})
    assert "metadata.jsonl:1 says 'one'; metadata.jsonl:2 says 'two'" in refusal(tmp_path)


@pytest.mark.parametrize("prompt", [None, "  "])
def test_no_caption_and_no_prompt_names_the_pictures(tmp_path: Path, prompt: str | None) -> None:
    pictures(tmp_path, "a.png", "b.png", "c.png")
    (tmp_path / "b.txt").write_text("B", encoding="utf-8")
    (tmp_path / "c.txt").write_text("\n", encoding="utf-8")
    said = refusal(tmp_path, prompt=prompt)
    assert "1 picture with no caption, and there is no prompt for all: a.png." in said
    assert "1 picture with an empty caption, and there is no prompt: c.png." in said
    assert "data.instance_prompt" in said


def test_captions_can_always_be_written_down(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "text": "TOK \\ud800 \\u2028 here"}', encoding="utf-8"
    )
    assert captions(read(tmp_path)) == {"a.png": "TOK ? here"}


def test_a_csv_line_ends_where_csv_says(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    text = 'file_name,text\na.png,TOK\u2028here\nb.png,"TOK\nthere"\n'
    (tmp_path / "metadata.csv").write_text(text, encoding="utf-8")
    assert captions(read(tmp_path)) == {"a.png": "TOK here", "b.png": "TOK there"}


# ---- folders that cannot be meant


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    assert f"the folder {tmp_path / 'no'} does not exist" in refusal(tmp_path / "no")
    assert f"{tmp_path / 'no'} does not exist either" in refusal(tmp_path / "no" / "such")


def test_a_file_instead_of_a_folder_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    assert "is a file, not a folder" in refusal(tmp_path / "a.png")


def test_a_folder_without_pictures_says_what_is_in_it(tmp_path: Path) -> None:
    assert "has no pictures in it, nothing at all" in refusal(tmp_path)
    (tmp_path / "notes.md").write_text("x", encoding="utf-8")
    pictures(tmp_path / "dog", "a.png")
    said = refusal(tmp_path)
    assert "has no pictures in it, only notes.md, dog/" in said
    assert "Sub-folders are not searched" in said


def test_a_background_that_is_no_colour_is_refused_before_pictures_are_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'nocolour' is not a colour"):
        read_examples(tmp_path, prompt="P", caption_column=None, role=Role.CLASS, pixel_limit=1, background="nocolour")


# ---- metadata that cannot be meant


def test_all_that_is_wrong_with_the_metadata_is_said_at_once(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "B.PNG")
    lines = [
        '{"file_name": "gone.png", "text": "x"}',
        '{"file_name": "../a.png", "text": "x"}',
        '{"file_name": "/etc/passwd", "text": "x"}',
        '{"file_name": "C:\\\\a.png", "text": "x"}',
        '{"file_name": "b.png", "text": "x"}',
        '{"file_name": "a.png", "text": 3}',
        '{"text": "x"}',
    ]
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines), encoding="utf-8")
    said = refusal(tmp_path)
    assert "file_name 'gone.png' is not there (metadata.jsonl:1)" in said
    assert "'../a.png' points outside of the folder (metadata.jsonl:2)" in said
    assert "'/etc/passwd' points outside of the folder (metadata.jsonl:3)" in said
    assert "points outside of the folder (metadata.jsonl:4)" in said
    assert "'b.png' is not there (metadata.jsonl:5). Did you mean 'B.PNG'?" in said
    assert "the caption in column 'text' is not text: 3 (metadata.jsonl:6)" in said
    assert "file_name is missing or not text (metadata.jsonl:7)" in said


def test_a_broken_line_is_named_by_its_number(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    text = '{"file_name": "a.png", "text": "x"}\n\n{"file_name": "a.png",\n[1]\n'
    (tmp_path / "metadata.jsonl").write_text(text, encoding="utf-8")
    said = refusal(tmp_path)
    assert "the line is not JSON" in said
    assert "metadata.jsonl:3" in said
    assert "the line is not an object: [1] (metadata.jsonl:4)" in said


def test_a_csv_line_with_too_many_columns_is_named_by_its_number(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,TOK, on a table\n", encoding="utf-8")
    said = refusal(tmp_path)
    assert "the line has 3 columns, the header 2 (metadata.csv:2)" in said
    assert "double quotes" in said


def test_a_column_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "blip": "x"})
    assert "there is no column 'tags'" in refusal(tmp_path, column="tags")
    assert "The columns are: file_name, blip." in refusal(tmp_path, column="tags")
    said = refusal(tmp_path)
    assert "none of the columns text, prompt, caption holds the captions" in said
    assert "Name one with data.caption_column" in said


def test_metadata_without_file_names_or_lines_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"image": "a.png", "text": "x"})
    assert "no column 'file_name'" in refusal(tmp_path)
    metadata(tmp_path)
    assert "It has no lines." in refusal(tmp_path)


def test_a_column_without_a_metadata_file_is_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    assert "there is no metadata.jsonl or metadata.csv that could have the column 'blip'" in refusal(
        tmp_path, column="blip"
    )


def test_two_metadata_files_are_refused(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "x"})
    (tmp_path / "metadata.csv").write_text("file_name,text\na.png,y\n", encoding="utf-8")
    assert "there are both metadata.jsonl and metadata.csv" in refusal(tmp_path)


@pytest.mark.parametrize("name", ["metadata.jsonl", "a.txt"])
def test_captions_that_are_not_utf8_are_refused(tmp_path: Path, name: str) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / name).write_bytes("Grün".encode("latin-1"))
    said = refusal(tmp_path)
    assert "byte 2 is not UTF-8" in said
    assert name in said


def test_captions_cannot_drive_the_terminal(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    metadata(tmp_path, {"file_name": "a.png", "text": "\x1b[31mone"}, {"file_name": "a.png", "text": "two\u202e"})
    said = refusal(tmp_path)
    assert "\x1b" not in said
    assert "\u202e" not in said


# ---- broken pictures


def test_broken_pictures_are_named_with_their_reasons(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("not a picture", encoding="utf-8")
    (tmp_path / "d.png").write_bytes(png(60_000, 60_000, bits=8, colour_type=2, rows=b""))
    (tmp_path / "e.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (tmp_path / "f.png").symlink_to(tmp_path / "gone.png")
    reading = read(tmp_path)
    assert [example.id for example in reading.examples] == ["a.png"]
    reasons = {broken.path.name: broken.reason for broken in reading.broken}
    assert list(reasons) == ["b.jpg", "c.jpg", "d.png", "e.heic", "f.png"]
    assert "empty" in reasons["b.jpg"]
    assert "text" in reasons["c.jpg"]
    assert "limit" in reasons["d.png"]
    assert "HEIC" in reasons["e.heic"]
    assert "No such file" in reasons["f.png"]


def test_a_picture_whose_name_is_not_utf8_counts_as_broken(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.png")
    (tmp_path / "b.png").rename(os.fsdecode(os.fsencode(tmp_path) + b"/b\xff.png"))
    reading = read(tmp_path)
    assert [one.reason for one in reading.broken] == ["its name is not UTF-8"]
    with pytest.raises(DataError, match=r"b\?\.png: its name is not UTF-8"):
        refuse_or_leave_out(reading, "refuse", "data.instance_images")


def test_a_picture_that_is_hardly_more_than_a_line_counts_as_broken(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    save(plain(RED, width=210, height=10), tmp_path / "b.png")
    save(plain(RED, width=10, height=200), tmp_path / "c.png")
    reading = read(tmp_path)
    assert [(one.path.name, one.reason.split(" are ")[0]) for one in reading.broken] == [("b.png", "210×10 pixels")]
    assert [example.id for example in reading.examples] == ["a.png", "c.png"]


def test_broken_pictures_are_refused_all_at_once_or_left_out_as_told(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    (tmp_path / "b.jpg").write_bytes(b"")
    (tmp_path / "c.jpg").write_text("not a picture", encoding="utf-8")
    reading = read(tmp_path)
    assert refuse_or_leave_out(reading, "leave_out", "data.instance_images") == reading.examples
    with pytest.raises(DataError) as refused:
        refuse_or_leave_out(reading, "refuse", "data.instance_images")
    said = str(refused.value)
    assert "b.jpg: the file is empty" in said
    assert "c.jpg: text, not a picture" in said
    assert "2 pictures cannot be read (data.instance_images)" in said
    assert "leave_out" in said


def test_nothing_is_refused_when_nothing_is_broken(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png")
    reading = read(tmp_path)
    assert refuse_or_leave_out(reading, "refuse", "data.instance_images") == reading.examples


def test_a_folder_in_which_no_picture_can_be_read_is_refused_with_each_reason(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"")
    (tmp_path / "b.jpg").write_text("x", encoding="utf-8")
    said = refusal(tmp_path)
    assert "a.jpg: the file is empty" in said
    assert "b.jpg: text, not a picture" in said
    assert f"no picture in {tmp_path} can be read" in said
