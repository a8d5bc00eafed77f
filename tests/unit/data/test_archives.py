"""A zip of pictures is a data set; what is unsafe in it is named and nothing of it is unpacked."""

import io
import stat
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest
from PIL import Image

from lorasmith.config.train import TrainConfig
from lorasmith.data.archives import unpacked
from lorasmith.errors import DataError
from lorasmith.events import Event, Notice, ignore
from lorasmith.runs import pictures as run_pictures


def png(shade: int = 0) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (64, 64), (shade, 0, 0)).save(written, "PNG")
    return written.getvalue()


def packed(path: Path, members: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def config_for(archive: Path, tmp_path: Path, **data: object) -> TrainConfig:
    return TrainConfig.model_validate(
        {"data": {"instance_images": archive, "cache_folder": tmp_path / "cache", **data}}
    )


def test_pictures_captions_and_masks_are_unpacked_and_litter_is_left(tmp_path: Path) -> None:
    members = {
        "set/a.png": png(), "set/a.txt": "TOK", "b.JPG": png(1), "set/masks/a.png": png(255),
        "__MACOSX/set/._a.png": b"x", "set/.DS_Store": b"x", "readme.pdf": b"x", "set/": b"",
    }  # fmt: skip
    events: list[Event] = []
    folder = unpacked(packed(tmp_path / "set.zip", members), tmp_path / "cache", events.append)
    assert files_in(folder) == {"a.png", "a.txt", "b.JPG", "masks/a.png"}
    notes = [event.text for event in events if isinstance(event, Notice)]
    assert len(notes) == 1
    assert "readme.pdf" in notes[0]


def test_it_is_unpacked_once_and_anew_when_it_is_another(tmp_path: Path) -> None:
    archive = packed(tmp_path / "set.zip", {"a.png": png()})
    folder = unpacked(archive, tmp_path / "cache", ignore)
    before = (folder / "a.png").stat().st_mtime_ns
    assert unpacked(archive, tmp_path / "cache", ignore) == folder
    assert (folder / "a.png").stat().st_mtime_ns == before
    other = unpacked(packed(archive, {"a.png": png(9)}), tmp_path / "cache", ignore)
    assert other != folder
    assert (other / "a.png").read_bytes() == png(9)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "x/../../a.png", "C:/a.png", "..\\a.png"])
def test_paths_outside_are_refused(tmp_path: Path, name: str) -> None:
    archive = packed(tmp_path / "set.zip", {"fine.png": png(), name: png()})
    with pytest.raises(DataError, match="points outside"):
        unpacked(archive, tmp_path / "cache", ignore)
    assert not any(path.is_file() and path.suffix == ".png" for path in tmp_path.rglob("*"))


def test_links_encrypted_files_and_bombs_are_refused_all_at_once(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(link, "/etc/passwd")
        archive.writestr("bomb.png", bytes(30 * 2**20))
        archive.writestr("secret.png", png())
    data = bytearray((tmp_path / "set.zip").read_bytes())
    at = data.rfind(b"PK\x01\x02")
    struct.pack_into("<H", data, at + 8, struct.unpack_from("<H", data, at + 8)[0] | 1)
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(DataError) as refused:
        unpacked(tmp_path / "set.zip", tmp_path / "cache", ignore)
    said = str(refused.value)
    for part in ("link.png is a link", "bomb.png would grow", "secret.png is encrypted"):
        assert part in said


def test_a_file_that_is_longer_than_it_says_is_refused(tmp_path: Path) -> None:
    archive = packed(tmp_path / "set.zip", {"a.png": png()})
    data = bytearray(archive.read_bytes())
    struct.pack_into("<I", data, data.rfind(b"PK\x01\x02") + 24, 10)
    archive.write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        unpacked(archive, tmp_path / "cache", ignore)
    assert not any((tmp_path / "cache" / "archives").glob("*[0-9a-f]/a.png"))


@pytest.mark.parametrize("cut", [0, 10, 100, -10])
def test_a_damaged_zip_is_refused(tmp_path: Path, cut: int) -> None:
    archive = packed(tmp_path / "set.zip", {"a.png": png()})
    archive.write_bytes(archive.read_bytes()[:cut])
    with pytest.raises(DataError, match="damaged"):
        unpacked(archive, tmp_path / "cache", ignore)


def test_names_that_would_fall_on_each_other_are_named(tmp_path: Path) -> None:
    members = {"one/a.png": png(), "two/A.png": png(1), "b.png": png(2)}
    with pytest.raises(DataError, match=r"one/a\.png, two/A\.png"):
        unpacked(packed(tmp_path / "set.zip", members), tmp_path / "cache", ignore)


def test_a_run_takes_a_zip_with_a_table_of_captions(tmp_path: Path) -> None:
    table = 'caption,image_file\n"a TOK, red",images/a.png\nthe TOK,b.png\n'
    members = {"images/a.png": png(), "images/b.png": png(1), "My_Captions.csv": table}
    archive = packed(tmp_path / "set.zip", members)
    events: list[Event] = []
    examples = run_pictures.instance_images(config_for(archive, tmp_path), events.append)
    assert {one.id: one.caption for one in examples} == {"a.png": "a TOK, red", "b.png": "the TOK"}
    assert not [event for event in events if isinstance(event, Notice)]


def test_a_table_that_names_no_picture_is_refused_with_its_line(tmp_path: Path) -> None:
    members = {"a.png": png(), "captions.csv": "image_file,caption\na.png,TOK\nc.png,TOK\n"}
    with pytest.raises(DataError, match=r"captions\.csv:3"):
        run_pictures.instance_images(config_for(packed(tmp_path / "s.zip", members), tmp_path), ignore)


def test_a_zip_without_captions_takes_the_prompt(tmp_path: Path) -> None:
    archive = packed(tmp_path / "set.zip", {"a.png": png(), "old_captions.csv": "something,else\n1,2\n"})
    (one,) = run_pictures.instance_images(config_for(archive, tmp_path, instance_prompt="a TOK"), ignore)
    assert one.caption == "a TOK"
