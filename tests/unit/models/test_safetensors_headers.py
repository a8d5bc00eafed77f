"""A header is checked before anything is believed: broken, cut and hostile files are refused in words."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

import json
import struct
import tracemalloc
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from lorasmith.errors import DataError
from lorasmith.models.safetensors_header import read_header


def written(path: Path, header: object, numbers: bytes = b"", *, length: int | None = None) -> Path:
    """A file with this header (JSON, or bytes as they are), saying it is `length` bytes long."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + numbers)
    return path


def entry(*, shape: object = (2,), dtype: object = "F32", offsets: object = (0, 8)) -> dict[str, object]:
    return {"w": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}


def test_names_shapes_and_metadata_are_read(tmp_path: Path) -> None:
    tensors = {"a": torch.zeros(2, 3), "marker": torch.tensor([]), "number": torch.tensor(3.0), "i": torch.arange(4)}
    save_file(tensors, tmp_path / "x.safetensors", metadata={"modelspec.title": "x"})
    header = read_header(tmp_path / "x.safetensors", where="model.base")
    assert {name: (one.dtype, one.shape) for name, one in header.tensors.items()} == {
        "a": ("F32", (2, 3)),
        "marker": ("F32", (0,)),
        "number": ("F32", ()),
        "i": ("I64", (4,)),
    }
    assert header.metadata == {"modelspec.title": "x"}


HOSTILE = {
    "offsets outside the file": (entry(offsets=(0, 8)), b"\0" * 4, "cut short: 4 of 8 bytes"),
    "offsets far outside": (entry(shape=[2**38], offsets=(0, 2**40)), b"", "cut short"),
    "offsets backwards": (entry(offsets=(8, 0)), b"\0" * 8, "which is not its size"),
    "offsets before the file": (entry(offsets=(-8, 0)), b"\0" * 8, "which is not its size"),
    "size and shape apart": (entry(shape=[3]), b"\0" * 12, "which is not its size"),
    "negative shape": (entry(shape=[-1, -2]), b"\0" * 8, "has the shape [-1, -2]"),
    "endless shape": (entry(shape=[2**62, 2**62]), b"\0" * 8, "has the shape"),
    "shape of words": (entry(shape=["x"]), b"\0" * 8, "has the shape ['x']"),
    "unknown kind of number": (entry(dtype="PICKLE"), b"\0" * 8, "does not say what 'w' is"),
    "no offsets": ({"w": {"dtype": "F32", "shape": [2]}}, b"\0" * 8, "does not say what 'w' is"),
    "a list": (b"[1, 2]        ", b"", "it is something else"),
    "no JSON": (b"{nothing}", b"", "its header cannot be read"),
    "no text": (b"{\xff\xfe\xfd}", b"", "its header cannot be read"),
    "a name twice": (b'{"w": 1, "w": 2}', b"", "a name stands in it twice"),
    "deep nesting": (b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}", b"", "its header cannot be read"),
    "a number without end": (b'{"w":' + b"9" * 100_000 + b"}", b"", "its header cannot be read"),
    "metadata that is no table": ({"__metadata__": 3}, b"", "its metadata is not a table"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_header_is_refused(tmp_path: Path, name: str) -> None:
    header, numbers, says = HOSTILE[name]
    path = written(tmp_path / "base.safetensors", header, numbers)
    with pytest.raises(DataError) as refused:
        read_header(path, where="model.base")
    problem = refused.value.problems[0]
    assert says in problem.what
    assert "base.safetensors" in problem.what
    assert problem.where == "model.base"
    assert problem.remedy
    assert len(str(refused.value)) < 1000


def test_a_hundred_megabytes_of_header_are_refused_without_reading_them(tmp_path: Path) -> None:
    path = written(tmp_path / "base.safetensors", b'{"w":1}', length=100_000_000)
    with path.open("r+b") as file:
        file.truncate(200_000_000)  # sparse: takes no disk
    tracemalloc.start()
    with pytest.raises(DataError, match="claims 100,000,000 bytes"):
        read_header(path, where="model.base")
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "it has 0 bytes"),
        (b"\x80\x02}q\x00." + b"\0" * 60, "a pickle, which can run code"),
        (b"PK\x03\x04" + b"\0" * 60, "a zip file, as PyTorch's pickles are"),
        (b"GGUF" + b"\0" * 60, "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 6938040682\n", "Git LFS"),
        (b"<!DOCTYPE html><html>" + b" " * 60, "a web page"),
        (b"\0" * 64, "something else"),
    ],
)
def test_another_kind_of_file_is_named(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "base.safetensors").write_bytes(content)
    with pytest.raises(DataError) as refused:
        read_header(tmp_path / "base.safetensors", where="model.base")
    assert says in str(refused.value)


def test_a_header_of_128_bytes_is_no_pickle(tmp_path: Path) -> None:
    """Its length begins with 0x80, as pickles do."""
    text = json.dumps(entry()).encode()
    path = written(tmp_path / "x.safetensors", text + b" " * (128 - len(text)), b"\0" * 8)
    assert path.read_bytes()[0] == 0x80
    assert read_header(path, where="model.base").tensors["w"].shape == (2,)


@pytest.mark.parametrize("suffix", ["ckpt", "pt", "pth", "bin", "CKPT"])
def test_a_pickle_is_refused_by_its_name_without_being_opened(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(DataError, match=r"is a pickle, which can run code.*Use the \.safetensors file"):
        read_header(tmp_path / f"not-even-there.{suffix}", where="model.base")


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    content = bytearray(struct.pack("<Q", 70) + json.dumps(entry()).encode().ljust(70) + b"\0" * 8)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    path.write_bytes(bytes(content[:cut]))
    try:
        header = read_header(path, where="model.base")
    except DataError:
        return
    assert all(len(name) < 100 for name in header.tensors)
