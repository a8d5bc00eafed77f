"""File names are tame and distinct, bytes are the same each time, and prose is harmless."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load

from lorasmith.export.file_names import embeddings_files, kohya_file, tame
from lorasmith.export.model_card import code, fenced
from lorasmith.export.write import serialise, tensor_hash


@given(st.text(max_size=200))
def test_any_name_becomes_a_file_name_that_every_system_takes(name: str) -> None:
    stem = tame(name)
    assert 1 <= len(stem) <= 80
    assert all(character.isascii() and (character.isalnum() or character in "._-") for character in stem)
    assert not stem.startswith((".", "-"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("my dog", "my-dog.safetensors"),
        ("v1.5_b", "v1.5_b.safetensors"),
        ("pytorch_lora_weights", "pytorch_lora_weights-webui.safetensors"),
        ("犬", "lora.safetensors"),
    ],
)
def test_webui_files_keep_readable_names_and_never_take_diffusers(name: str, file: str) -> None:
    assert kohya_file(name) == file


def test_embeddings_of_concepts_that_look_alike_get_different_names() -> None:
    files = embeddings_files("x", ["TOK", "tok", "T K", "T-K"])
    assert len({file.lower() for file in files}) == 4
    assert files[0] == "x_TOK_emb.safetensors"
    assert embeddings_files("x", ["TOK"]) == ("x_emb.safetensors",)


def test_serialised_files_are_equal_bytes_and_read_by_the_library() -> None:
    tensors = {"b": torch.arange(6.0).reshape(2, 3), "a": torch.tensor(0.5), "c": torch.ones(4, 2).T}
    metadata = {f"key {number}": "välue" for number in range(12)}
    first = serialise(tensors, metadata)
    assert serialise(dict(reversed(tensors.items())), dict(reversed(metadata.items()))) == first
    read = load(first)
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    length = int.from_bytes(first[:8], "little")
    assert length % 8 == 0
    assert json.loads(first[8 : 8 + length])["__metadata__"] == metadata


def test_the_tensor_hash_depends_on_tensors_only() -> None:
    tensors = {"a": torch.ones(3)}
    assert tensor_hash(tensors) == tensor_hash({"a": torch.ones(3)})
    assert tensor_hash(tensors) != tensor_hash({"a": torch.zeros(3)})


@given(st.text(alphabet="`a ", max_size=30))
def test_code_spans_and_blocks_are_not_ended_by_what_they_hold(text: str) -> None:
    from markdown_it import MarkdownIt

    tokens = MarkdownIt().parse(f"word {code('x' + text + 'x')} word")
    (inline,) = [token for token in tokens if token.type == "inline"]
    assert [child.content for child in inline.children or () if child.type == "code_inline"] == [f"x{text}x"]
    blocks = MarkdownIt().parse(fenced("x" + text + "x\nafter"))
    assert [(block.type, block.content) for block in blocks] == [("fence", f"x{text}x\nafter\n")]
