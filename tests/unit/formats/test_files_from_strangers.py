"""Files that are broken, hostile or something else are one clear error each: nothing is written, no code runs."""

# safetensors is only partly typed.
# pyright: reportUnknownVariableType=false

import io
import json
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from made_loras import Lora, kohya
from safetensors.torch import save, save_file

from lorasmith.cli.app import main
from lorasmith.errors import DataError
from lorasmith.runs.addition_files import read_lora

Ask = Callable[..., tuple[int, str]]
NAME = "lora_unet_middle_block_1_transformer_blocks_0_attn1_to_q"


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.canary,)


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Ask:
    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as left:
            main(list(words))
        return int(left.value.code or 0), capsys.readouterr().err

    return run


def refused(ask: Ask, file: Path, reason: str) -> None:
    """All three commands leave with one error that says so, and write nothing."""
    before = sorted(file.parent.rglob("*"))
    for words in (("inspect", str(file)), ("verify", str(file)),
                  ("convert", str(file), str(file.with_name("out.safetensors")), "--to", "kohya")):  # fmt: skip
        code, said = ask(*words)
        assert code == 3, (words[0], said)
        assert said.count("error") == 1
        assert reason in said, (words[0], said)
        assert "\x1b" not in said
        assert len(said) < 1000
    assert sorted(file.parent.rglob("*")) == before


def header(path: Path, entries: object, body: bytes = b"") -> Path:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def entry(first: int, last: int, *shape: int) -> dict[str, object]:
    return {"dtype": "F32", "shape": list(shape), "data_offsets": [first, last]}


def test_pickles_under_any_name_are_not_opened(ask: Ask, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    bomb = pickle.dumps({"string_to_param": Bomb(canary)})
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", bomb)
    for number, (suffix, content) in enumerate(
        (suffix, content) for suffix in (".pt", ".bin", ".pti", ".safetensors") for content in (bomb, zipped.getvalue())
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / f"a{suffix}").write_bytes(content)
        refused(ask, folder / f"a{suffix}", "pickle")
    with tarfile.open(tmp_path / "cog.tar", "w") as archive:
        for name in ("lora.safetensors", "embeddings.pti"):
            member = tarfile.TarInfo(name)
            member.size = len(bomb)
            archive.addfile(member, io.BytesIO(bomb))
    refused(ask, tmp_path / "cog.tar", "pickle")
    assert not canary.exists()


def test_hostile_headers_are_refused_before_they_are_read(ask: Ask, tmp_path: Path) -> None:
    with (tmp_path / "long.safetensors").open("wb") as file:
        file.write((100 * 2**20).to_bytes(8, "little") + b"{")
        file.truncate(101 * 2**20)
    refused(ask, tmp_path / "long.safetensors", "104,857,600")
    key = f"{NAME}.lora_down.weight"
    refused(ask, header(tmp_path / "out-of-it.safetensors", {key: entry(0, 4000, 1000)}, b"1234"), "cut short")
    both = {key: entry(0, 8, 2), f"{NAME}.lora_up.weight": entry(4, 12, 2)}
    refused(ask, header(tmp_path / "overlap.safetensors", both, b"\0" * 12), "not a whole safetensors file")
    twice = f'{{"{key}": {json.dumps(entry(0, 4, 1))}, "{key}": {json.dumps(entry(0, 4, 1))}}}'.encode()
    refused(ask, header(tmp_path / "twice.safetensors", twice, b"\0" * 4), "twice")
    refused(ask, header(tmp_path / "deep.safetensors", b'{"a":' * 20_000, b""), "cannot be read")
    escapes = {f"\x1b[31m{key}": entry(0, 4, 1)}
    refused(ask, header(tmp_path / "escapes.safetensors", escapes, b"\0" * 4), "names a tensor")
    assert len(list(tmp_path.iterdir())) == 6, "what was made here, and nothing else"


def test_a_file_cut_anywhere_is_refused(lora: Lora, ask: Ask, tmp_path: Path) -> None:
    small = {name: tensor for name, tensor in kohya(lora).items() if "te1" in name}
    whole = save(small)
    for length in (0, 7, 12, 200, len(whole) - 1):
        (tmp_path / "cut.safetensors").write_bytes(whole[:length])
        refused(ask, tmp_path / "cut.safetensors", "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(whole)
    assert ask("inspect", str(tmp_path / "cut.safetensors"))[0] == 0, "uncut, it is read"


def test_what_is_no_lora_or_of_another_family_is_named(ask: Ask, tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(2, 2)}, tmp_path / "other.safetensors")
    for command in ("verify", "convert"):
        more = (str(tmp_path / "out.safetensors"), "--to", "kohya") if command == "convert" else ()
        code, said = ask(command, str(tmp_path / "other.safetensors"), *more)
        assert (code, "neither a LoRA" in said) == (3, True)
    flux = "lora_unet_double_blocks_0_img_attn_proj"
    first = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
    for name, width, family in ((flux, 3072, "Flux"), (first, 768, "Stable Diffusion 1")):
        halves = {f"{name}.lora_down.weight": torch.ones(2, width), f"{name}.lora_up.weight": torch.ones(320, 2)}
        save_file(halves, tmp_path / "other.safetensors")
        code, said = ask("convert", str(tmp_path / "other.safetensors"), str(tmp_path / "out"), "--to", "diffusers")
        assert (code, family in said) == (3, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["other.safetensors"]


def test_numbers_that_are_not_finite_are_told_and_never_used(lora: Lora, ask: Ask, tmp_path: Path) -> None:
    tensors = kohya(lora)
    first = next(name for name in tensors if name.endswith("up.weight"))
    tensors[first][0, 0] = torch.nan
    save_file(tensors, tmp_path / "diverged.safetensors")
    code, said = ask("convert", str(tmp_path / "diverged.safetensors"), str(tmp_path / "out"), "--to", "diffusers")
    assert (code, f"1 tensor not finite, the first {first}" in said) == (3, True), said
    with pytest.raises(DataError, match="not finite"):
        read_lora(tmp_path / "diverged.safetensors", layers_per_block=2)
    file = str(tmp_path / "diverged.safetensors")
    for words in (("verify", file), ("merge", file, file, "--base", "embedded", "--output", str(tmp_path / "merged"))):
        code, said = ask(*words)
        assert (code, "not finite" in said) == (3, True), said
    assert [path.name for path in tmp_path.iterdir()] == ["diverged.safetensors"]


def test_names_that_are_paths_become_no_files(lora: Lora, ask: Ask, tmp_path: Path) -> None:
    tensors = kohya(lora) | {"../../../etc/x.lora_down.weight": torch.ones(2, 2)}
    save_file(tensors, tmp_path / "paths.safetensors")
    for command in ("inspect", "verify"):
        code, said = ask(command, str(tmp_path / "paths.safetensors"))
        assert (code, "is no tensor of a LoRA" in said) == (3, True)
    assert [path.name for path in tmp_path.iterdir()] == ["paths.safetensors"]
