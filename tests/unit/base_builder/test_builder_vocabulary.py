"""The vocabulary is CLIP's in kind: its files, its order, its special ids."""
# pyright: basic, reportPrivateImportUsage=false, reportAttributeAccessIssue=false

import json
from pathlib import Path

import pytest

from lorasmith.base_builder.vocabulary import (
    encode_captions,
    load_tokenizer,
    save_tokenizer,
    world_words,
    write_vocabulary,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    write_vocabulary(folder, size=1_400)
    return folder


def test_start_and_end_of_text_are_the_last_two_ids(folder: Path) -> None:
    vocabulary = json.loads((folder / "vocab.json").read_text())
    assert vocabulary["<|endoftext|>"] == len(vocabulary) - 1
    assert vocabulary["<|startoftext|>"] == len(vocabulary) - 2
    assert vocabulary["!"] == 0


def test_every_word_of_the_world_is_one_token(folder: Path) -> None:
    tokenizer = load_tokenizer(folder, pad_token="<|endoftext|>", length=32)
    assert [word for word in world_words() if len(tokenizer.tokenize(word)) != 1] == []


def test_unknown_words_are_spelt_and_nothing_is_lost(folder: Path) -> None:
    tokenizer = load_tokenizer(folder, pad_token="<|endoftext|>", length=32)
    ids = tokenizer("a zqxwv émoji").input_ids
    assert tokenizer.decode(ids, skip_special_tokens=True).strip() == "a zqxwv émoji"


def test_the_second_tokenizer_pads_with_id_0_and_the_first_with_the_end_of_text(folder: Path) -> None:
    first = load_tokenizer(folder, pad_token="<|endoftext|>", length=8)
    second = load_tokenizer(folder, pad_token="!", length=8)
    end = len(first) - 1
    assert encode_captions(first, ["a dog"], length=8)[0, 3:].tolist() == [end] * 5
    assert encode_captions(second, ["a dog"], length=8)[0, 3:].tolist() == [end, 0, 0, 0, 0]


def test_saving_writes_the_files_old_and_new_readers_want(folder: Path, tmp_path: Path) -> None:
    save_tokenizer(load_tokenizer(folder, pad_token="!", length=32), folder, tmp_path)
    written = {path.name for path in tmp_path.iterdir()}
    assert {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"} <= written
    before, after = (load_tokenizer(place, pad_token="!", length=32) for place in (folder, tmp_path))
    assert after("a small rocket emoji").input_ids == before("a small rocket emoji").input_ids
