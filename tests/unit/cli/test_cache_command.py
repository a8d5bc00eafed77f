"""`lorasmith cache` lists, verifies and prunes; it says what it would remove before it removes anything."""

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lorasmith.data.cache import LatentCache, file_of
from lorasmith.models.family import LatentDistribution

Ask = Callable[..., Any]


def key(number: int) -> str:
    return f"{number:02x}" + "0" * 62


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A cache of three pictures, the second of which was not used for long."""
    cache = LatentCache(tmp_path / "cache")
    for number in range(3):
        latents = torch.full((1, 4, 2, 2), float(number))
        cache.put(key(number), LatentDistribution(latents, latents + 0.5), encoder="0123456789abcdef")
    then = time.time() - 50 * 86_400
    os.utime(file_of(tmp_path / "cache", key(1)), (then, then))
    return tmp_path / "cache"


def test_list_tells_kind_encoder_number_and_size(folder: Path, ask: Ask) -> None:
    answer = ask("cache", "list", "--folder", str(folder))
    assert answer.code == 0
    assert "latents" in answer.data
    assert "3 of" in answer.data
    assert "encoder 0123456789ab," in answer.data
    (row,) = json.loads(ask("cache", "list", "--folder", str(folder), "--json").data)
    size = sum(file.stat().st_size for file in folder.rglob("*.safetensors"))
    assert (row["kind"], row["encoder"], row["count"], row["bytes"]) == ("latents", "0123456789abcdef", 3, size)
    assert row["last_used"].startswith("20")


def test_verify_passes_names_what_is_damaged_and_repairs_it(folder: Path, ask: Ask) -> None:
    assert ask("cache", "verify", "--folder", str(folder)).code == 0
    file = file_of(folder, key(2))
    file.write_bytes(file.read_bytes()[:-1] + b"!")
    answer = ask("cache", "verify", "--folder", str(folder))
    assert answer.code == 3
    assert str(file) in answer.talk
    assert "--repair" in answer.talk
    assert file.exists()
    assert ask("cache", "verify", "--folder", str(folder), "--repair").code == 0
    assert not file.exists()
    assert file_of(folder, key(0)).exists()
    assert ask("cache", "verify", "--folder", str(folder)).code == 0


def test_prune_says_first_and_removes_only_when_told(folder: Path, ask: Ask) -> None:
    answer = ask("cache", "prune", "--folder", str(folder), "--older-than", "30")
    assert "1 of" in answer.data
    assert "nothing was removed" in answer.talk
    assert file_of(folder, key(1)).exists()
    assert "removed 1" in ask("cache", "prune", "--folder", str(folder), "--older-than", "30", "--yes").talk
    assert [file_of(folder, key(number)).exists() for number in range(3)] == [True, False, True]


def test_prune_makes_room_down_to_a_size(folder: Path, ask: Ask) -> None:
    assert "2 of" in ask("cache", "prune", "--folder", str(folder), "--over", "0.7k").data
    assert ask("cache", "prune", "--folder", str(folder), "--over", "0", "--yes").code == 0
    assert not list(folder.rglob("*.safetensors"))


def test_a_size_that_is_none_and_a_folder_that_is_not_there_are_refused(folder: Path, ask: Ask) -> None:
    assert ask("cache", "prune", "--folder", str(folder), "--over", "much").code == 2
    assert ask("cache", "list", "--folder", str(folder / "nowhere")).code == 2


def test_an_empty_cache_is_said_to_be_empty(tmp_path: Path, ask: Ask) -> None:
    assert "nothing is kept" in ask("cache", "list", "--folder", str(tmp_path)).talk
    assert json.loads(ask("cache", "list", "--folder", str(tmp_path), "--json").data) == []
