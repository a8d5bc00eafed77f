"""Data sets on this machine: which folders need `datasets`, what comes out of tables, and what is refused."""

import json
import sys
import tarfile
import tracemalloc
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from made_data_sets import (
    CAPTIONS,
    COLOURS,
    config_of,
    described_by_configs,
    foreign_parquet,
    jpeg,
    parquet,
    sha256,
)

from lorasmith.config.train import TrainConfig
from lorasmith.data import dataset, dataset_pictures
from lorasmith.data.examples import Example
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Event, Notice, WorkDone, ignore
from lorasmith.runs.pictures import instance_images
from lorasmith.sizes import Size

PICTURES = [jpeg(colour) for colour in COLOURS]


def read(dataset: Path | str, **options: object) -> tuple[Example, ...]:
    """The instance images of a run on the data set, kept in a cache beside it."""
    cache = Path(dataset).parent / "cache"
    return instance_images(config_of(dataset, cache, **options), ignore)


def image_folder(folder: Path, *, captions: tuple[str, ...] = CAPTIONS) -> Path:
    """Pictures and their `metadata.jsonl`, with the captions in `prompt`."""
    folder.mkdir(parents=True)
    for colour, picture in zip(COLOURS, PICTURES, strict=True):
        (folder / f"{colour}.jpg").write_bytes(picture)
    lines = [{"file_name": f"{colour}.jpg", "prompt": said} for colour, said in zip(COLOURS, captions, strict=True)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A folder with one parquet file: three pictures with captions in `prompt`."""
    parquet(tmp_path / "things" / "data" / "train-00000-of-00001.parquet", {"image": PICTURES, "prompt": CAPTIONS})
    return tmp_path / "things"


@pytest.fixture
def no_datasets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without the package."""
    monkeypatch.setitem(sys.modules, "datasets", None)


@pytest.mark.usefixtures("no_datasets")
@pytest.mark.parametrize("image_column", [None, "image"])
def test_a_plain_folder_is_read_without_the_package_as_instance_images_are(
    tmp_path: Path, image_column: str | None
) -> None:
    folder = image_folder(tmp_path / "huggy_clean")
    as_folder = TrainConfig.model_validate({"data": {"instance_images": folder, "caption_column": "prompt"}})
    found = read(folder, caption_column="prompt", image_column=image_column)
    assert found == instance_images(as_folder, ignore)
    assert [one.caption for one in found] == [CAPTIONS[2], CAPTIONS[1], CAPTIONS[0]]


@pytest.mark.usefixtures("no_datasets")
def test_of_an_image_folder_with_splits_only_the_train_split_is_read(tmp_path: Path) -> None:
    train = image_folder(tmp_path / "things" / "train")
    image_folder(tmp_path / "things" / "test", captions=("TOK not me",) * 3)
    found = read(tmp_path / "things", caption_column="prompt")
    assert [one.path for one in found] == [train / f"{colour}.jpg" for colour in ("blue", "green", "red")]
    assert {one.caption for one in found} == set(CAPTIONS)


def test_another_split_can_be_named(tmp_path: Path) -> None:
    image_folder(tmp_path / "things" / "train")
    image_folder(tmp_path / "things" / "test", captions=("TOK tested",) * 3)
    assert {one.caption for one in read(tmp_path / "things", dataset_split="test")} == {"TOK tested"}


def test_pictures_in_a_table_keep_their_bytes_their_order_and_their_captions(table: Path) -> None:
    found = read(table, caption_column="prompt")
    assert [one.path.read_bytes() for one in found] == PICTURES
    assert [one.content for one in found] == [sha256(picture) for picture in PICTURES]
    assert [one.caption for one in found] == list(CAPTIONS)


def test_a_picture_in_a_table_is_turned_upright_as_its_exif_says(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": [jpeg("red", orientation=6)]})
    assert [one.size for one in read(file)] == [Size(40, 24)]


def test_pictures_in_a_table_are_kept_under_the_cache_folder_and_read_once(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = read(table)
    monkeypatch.setattr(dataset, "open_table", None)
    assert read(table) == first
    assert all(one.path.is_relative_to(table.parent / "cache" / "datasets") for one in first)


def test_a_table_that_was_exchanged_gives_its_new_pictures(table: Path) -> None:
    before = read(table)
    (file,) = table.rglob("*.parquet")
    parquet(file, {"image": [jpeg("white")] * 3, "prompt": CAPTIONS})
    assert [one.content for one in read(table)] == [sha256(jpeg("white"))] * 3 != [one.content for one in before]


def test_empty_and_missing_captions_take_the_prompt(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": PICTURES, "prompt": ["TOK in red", "", None]})
    said = list[Event]()
    found = instance_images(config_of(file, tmp_path / "cache", caption_column="prompt"), said.append)
    assert [one.caption for one in found] == ["TOK in red", "a TOK thing", "a TOK thing"]
    assert any(isinstance(event, Notice) and event.text.startswith("2 captions empty") for event in said)


@pytest.mark.parametrize("column", ["text", "caption"])
def test_a_caption_column_with_a_usual_name_needs_not_be_named(tmp_path: Path, column: str) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": PICTURES, column: CAPTIONS, "artist": ["who"] * 3})
    assert [one.caption for one in read(file)] == list(CAPTIONS)


def test_without_a_caption_column_all_pictures_take_the_prompt(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": PICTURES, "artist": ["who"] * 3})
    assert {one.caption for one in read(file)} == {"a TOK thing"}


def test_another_caption_column_needs_no_second_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": PICTURES, "text": CAPTIONS, "long": ["TOK at length"] * 3})
    read(file)
    monkeypatch.setattr(dataset, "open_table", None)
    assert {one.caption for one in read(file, caption_column="long")} == {"TOK at length"}


def test_a_picture_that_is_there_twice_with_two_captions_stays_two(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": [PICTURES[0]] * 2, "text": ["TOK in red", "red TOK"]})
    assert [one.caption for one in read(file)] == ["TOK in red", "red TOK"]


def test_a_row_without_a_picture_is_refused_or_left_out(tmp_path: Path) -> None:
    file = parquet(tmp_path / "a.parquet", {"image": [PICTURES[0], None], "text": ["TOK in red", "TOK nowhere"]})
    with pytest.raises(DataError, match=r"000001-\w+\.jpg: the file is empty"):
        read(file)
    assert [one.caption for one in read(file, broken_pictures="leave_out")] == ["TOK in red"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"image_column": "imag"}, r"no column 'imag' \(data.image_column\). Did you mean image\? The columns are"),
        ({"image_column": "prompt"}, r"'prompt' does not hold pictures .* Columns of pictures: image\."),
        ({"caption_column": "promt"}, r"no column 'promt' \(data.caption_column\). Did you mean prompt\?"),
        ({"caption_column": "zzz"}, r"The columns are: image \(picture\), prompt \(text\), n\."),
        ({"caption_column": "n"}, r"'n' does not hold text .* Columns of text: prompt\."),
        ({"dataset_split": "validation"}, r"no split 'validation' \(data.dataset_split\). It has train\."),
        ({"dataset_config": "other"}, r"cannot be read as a data set: .*'other' not found.* \(data.dataset\)"),
    ],
)
def test_a_column_a_split_or_a_config_that_is_not_there_is_refused_with_those_that_are(
    tmp_path: Path, options: dict[str, str], said: str
) -> None:
    parquet(tmp_path / "things" / "a.parquet", {"image": PICTURES, "prompt": CAPTIONS, "n": [1, 2, 3]})
    with pytest.raises(DataError, match=said):
        read(tmp_path / "things", **options)


def test_of_several_columns_of_pictures_image_is_taken_or_one_has_to_be_named(tmp_path: Path) -> None:
    white = [jpeg("white")] * 3
    both = parquet(tmp_path / "a.parquet", {"mask": white, "image": PICTURES}, pictures=("mask", "image"))
    assert [one.content for one in read(both)] == [sha256(picture) for picture in PICTURES]
    assert [one.content for one in read(both, image_column="mask")] == [sha256(white[0])] * 3
    unclear = parquet(tmp_path / "b.parquet", {"left": white, "right": PICTURES}, pictures=("left", "right"))
    with pytest.raises(DataError, match=r"several columns of pictures: left, right"):
        read(unclear)


def test_a_table_of_another_programs_is_read(tmp_path: Path) -> None:
    stored = [{"bytes": picture, "path": None} for picture in PICTURES]
    file = foreign_parquet(tmp_path / "a.parquet", {"picture": stored, "raw": PICTURES[::-1], "text": CAPTIONS})
    assert [one.path.read_bytes() for one in read(file)] == PICTURES
    assert [one.path.read_bytes() for one in read(file, image_column="raw")] == PICTURES[::-1]


def test_a_table_without_pictures_is_refused_with_its_columns(tmp_path: Path) -> None:
    file = foreign_parquet(tmp_path / "a.parquet", {"text": CAPTIONS})
    with pytest.raises(DataError, match=r"no column of pictures \(data.dataset\). The columns are: text \(text\)"):
        read(file)


def test_paths_in_a_table_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "private.jpg").write_bytes(PICTURES[0])
    stored = [{"bytes": PICTURES[1], "path": None}, {"bytes": None, "path": str(tmp_path / "private.jpg")}]
    (tmp_path / "things").mkdir()
    foreign_parquet(tmp_path / "things" / "a.parquet", {"image": stored})
    with pytest.raises(DataError, match="row 1 of the data set has no picture of its own, only the path"):
        read(tmp_path / "things")
    assert [file.read_bytes() for file in (tmp_path / "cache").rglob("*.jpg")] == [PICTURES[1]]


def test_a_description_that_names_files_elsewhere_is_refused(table: Path) -> None:
    elsewhere = parquet(table.parent / "private" / "a.parquet", {"image": PICTURES})
    files = (
        f"configs:\n- config_name: default\n  data_files:\n  - split: train\n    path: ../{elsewhere.parent.name}/*\n"
    )
    (table / "README.md").write_text(f"---\n{files}---\n")
    with pytest.raises(DataError, match="names files outside of it"):
        read(table)


def test_code_in_a_data_set_is_never_run(table: Path) -> None:
    ran = table.parent / "ran"
    (table / f"{table.name}.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(DataError, match="scripts are no longer supported"):
        read(table)
    assert not ran.exists()


@pytest.mark.usefixtures("no_datasets")
def test_a_table_without_the_package_says_how_to_install_it(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    with pytest.raises(ConfigError, match=r"need the package `datasets` .*`pip install 'lorasmith\[hub\]'`"):
        read(tmp_path / "a.parquet")


def test_a_config_of_a_data_set_is_read_alone(tmp_path: Path) -> None:
    described_by_configs(tmp_path / "things", {"cat": PICTURES[0], "dog": PICTURES[1]})
    assert [one.content for one in read(tmp_path / "things", dataset_config="dog")] == [sha256(PICTURES[1])]
    with pytest.raises(DataError, match=r"pick one among the available configs: \['cat', 'dog'\]"):
        read(tmp_path / "things")


def test_pictures_in_folders_by_class_are_found(tmp_path: Path) -> None:
    for colour, picture in zip(COLOURS, PICTURES, strict=True):
        (tmp_path / "things" / colour).mkdir(parents=True)
        (tmp_path / "things" / colour / "1.jpg").write_bytes(picture)
    assert {one.content for one in read(tmp_path / "things")} == {sha256(picture) for picture in PICTURES}


def test_pictures_in_archives_are_read(tmp_path: Path) -> None:
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "pictures.zip", "w") as archive:
        archive.writestr("red.jpg", PICTURES[0])
    assert [one.path.read_bytes() for one in read(tmp_path / "zipped")] == [PICTURES[0]]
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "00000.tar", "w") as archive:
        for name, content in (("1.jpg", PICTURES[1]), ("1.txt", b"TOK in green")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, BytesIO(content))
    (shard,) = read(tmp_path / "shards", caption_column="txt")
    assert (shard.path.read_bytes(), shard.caption) == (PICTURES[1], "TOK in green")


def test_an_interrupted_reading_is_gone_on_with_and_never_used_half(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = list[str]()
    whole = dataset_pictures.write_bytes

    def power_cut(path: Path, content: bytes) -> None:
        if path.suffix == ".jpg":
            written.append(path.name)
            if len(written) == 3:
                raise KeyboardInterrupt
        whole(path, content)

    monkeypatch.setattr(dataset_pictures, "write_bytes", power_cut)
    with pytest.raises(KeyboardInterrupt):
        read(table)
    assert not list((table.parent / "cache").rglob("data-set.json"))
    assert [one.path.read_bytes() for one in read(table)] == PICTURES
    assert [int(name[:6]) for name in written] == [0, 1, 2, 2]


def test_what_an_interruption_tore_is_written_again(table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(dataset_pictures, "write_json", interrupted)
        with pytest.raises(KeyboardInterrupt):
            read(table)
    (part,) = (table.parent / "cache" / "datasets").glob("*.part")
    rows = (part / "rows.jsonl").read_text()
    (part / "rows.jsonl").write_text(rows[:-20])
    next((part / "pictures").glob("000001-*")).write_bytes(b"half a pict")
    assert [one.path.read_bytes() for one in read(table)] == PICTURES


def interrupted(*_: object) -> None:
    """Stands for whatever writes when somebody presses Ctrl-C."""
    raise KeyboardInterrupt


@pytest.mark.parametrize("damaged", ["pictures/000001-*", "rows.jsonl", "data-set.json"])
def test_kept_pictures_that_were_damaged_are_written_again(table: Path, damaged: str) -> None:
    first = read(table)
    (file,) = (table.parent / "cache" / "datasets").glob(f"*/{damaged}")
    file.write_bytes(file.read_bytes()[:-5])
    assert read(table) == first
    assert [one.path.read_bytes() for one in first] == PICTURES


def test_memory_does_not_grow_with_the_number_of_pictures(tmp_path: Path) -> None:
    large = [jpeg("red") + bytes([number]) * 200_000 for number in range(60)]
    file = parquet(tmp_path / "a.parquet", {"image": large})
    tracemalloc.start()
    try:
        dataset.dataset_pictures(config_of(file, tmp_path / "cache").data, ignore)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert file.stat().st_size > 12_000_000
    assert peak < 4_000_000


def test_progress_is_told_where_the_description_says_how_many_rows_there_are(table: Path) -> None:
    description = "dataset_info:\n  splits:\n  - name: train\n    num_bytes: 1\n    num_examples: 3\n"
    (table / "README.md").write_text(f"---\n{description}---\n")
    said = list[Event]()
    instance_images(config_of(table, table.parent / "cache"), said.append)
    assert [event for event in said if isinstance(event, WorkDone)] == [
        WorkDone("fetching pictures", number, 3) for number in (1, 2, 3)
    ]


def test_what_is_on_this_machine_is_read_without_a_word_to_anybody(
    table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = list[object]()

    def note(*place: object, **_: object) -> None:
        asked.append(place)

    monkeypatch.setattr("socket.getaddrinfo", note)
    read(table)
    read(next(table.rglob("*.parquet")))
    assert asked == []


def test_a_single_file_may_have_any_name(tmp_path: Path) -> None:
    file = parquet(tmp_path / "test [1] of *.parquet", {"image": PICTURES})
    parquet(tmp_path / "train.parquet", {"image": [jpeg("white")]})
    assert [one.path.read_bytes() for one in read(file)] == PICTURES


@pytest.mark.parametrize("name", ["./nowhere", "/nowhere/at/all"])
def test_a_path_to_nowhere_is_not_taken_for_a_data_set_of_the_hub(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"the folder .*nowhere.* does not exist \(data.dataset\)"):
        instance_images(config_of(name, tmp_path), ignore)


def test_what_is_for_data_sets_has_no_effect_on_a_folder_and_says_so(tmp_path: Path) -> None:
    folder = image_folder(tmp_path / "pictures")
    data = {"instance_images": folder, "image_column": "picture", "dataset_config": "dog"}
    said = list[Event]()
    instance_images(TrainConfig.model_validate({"data": data}), said.append)
    told = [event.text for event in said if isinstance(event, Notice)]
    assert [text.split(" has no effect")[0] for text in told] == ["data.dataset_config", "data.image_column"]
