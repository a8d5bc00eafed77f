"""Every refusal says what is wrong with which value, where it was said and what to do, and writes nothing."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import ANY

import pytest

from lorasmith import run_folder
from lorasmith.atomic import write_json
from lorasmith.cli.app import main
from lorasmith.run_folder import RunFolder
from lorasmith.testing import pictures

Prepare = Callable[[Path], None]
"""Spoils something in the folder a case runs in."""


@dataclass(frozen=True)
class Case:
    """A command line with something wrong, its exit code and what its refusal must say."""

    words: str
    code: int
    says: tuple[str, ...]
    prepare: Prepare = lambda folder: None


def _no_pictures(folder: Path) -> None:
    (folder / "empty").mkdir()
    (folder / "empty" / "notes.txt").write_text("nothing to see")


def _only_broken_pictures(folder: Path) -> None:
    (folder / "broken").mkdir()
    (folder / "broken" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n but no picture")
    (folder / "broken" / "b.jpg").write_bytes(b"")


def _one_broken_picture(folder: Path) -> None:
    path = folder / "pictures" / "picture-000.png"
    path.write_bytes(path.read_bytes()[:100])


def _captions_without_the_token(folder: Path) -> None:
    (folder / "pictures" / "picture-001.txt").write_text("a photo of tok")


def _sd15(folder: Path) -> None:
    """What Stable Diffusion 1.5 has: one text encoder, and a denoiser that knows nothing of sizes."""
    base = folder / "sd15"
    for name in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        (base / name).mkdir(parents=True)
    (base / "model_index.json").write_text(json.dumps({"_class_name": "StableDiffusionPipeline"}))
    (base / "unet" / "config.json").write_text(json.dumps({"_class_name": "UNet2DConditionModel"}))


def _not_text_time(folder: Path) -> None:
    config = folder / "base" / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "addition_embed_type": None}))


def _pickled(folder: Path) -> None:
    weights = folder / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.rename(weights.with_name("diffusion_pytorch_model.bin"))


def _truncated_weights(folder: Path) -> None:
    weights = folder / "base" / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:5000])


def _zeros(folder: Path) -> None:
    (folder / "sdxl.safetensors").write_bytes(b"\0" * 64)


def _foreign_files(folder: Path) -> None:
    (folder / "run").mkdir()
    (folder / "run" / "thesis.docx").write_text("years of work")


def _finished(folder: Path) -> None:
    run = RunFolder(folder / "run")
    write_json(run.config_file, {})
    records = ({"event": "RunStarted", "step": 0}, {"event": "RunEnded", "reason": "done", "step": 4})
    run.events_file.write_text("".join(json.dumps(record) + "\n" for record in records))


def _a_file_in_its_place(folder: Path) -> None:
    (folder / "run").write_text("not a folder")


def _options_file(folder: Path) -> None:
    (folder / "wolf.toml").write_text('[schedule]\nsteps = "many"\n')


CASES = {
    "missing folder": Case("--data.instance-images nowhere", 3, ("nowhere does not exist", "Check the path")),
    "no folder named": Case("--data.instance-images none", 2, ("no instance images were named", "Give their folder")),
    "no pictures": Case(
        "--data.instance-images empty", 3, ("empty has no pictures in it, only notes.txt", "Put jpg"), _no_pictures
    ),
    "no picture readable": Case(
        "--data.instance-images broken --data.instance-prompt TOK",
        3,
        ("a.png: ", "b.jpg: ", "no picture in", "can be read"),
        _only_broken_pictures,
    ),
    "one picture not readable": Case(
        "", 3, ("picture-000.png: ", "data.broken_pictures to leave_out"), _one_broken_picture
    ),
    "caption without the token": Case(
        "",
        3,
        ("without TOK", "picture-001.png", "tok instead of TOK", "Write TOK into them"),
        _captions_without_the_token,
    ),
    "unknown option": Case("--adapter.rnk 4", 2, ("--adapter.rnk", "Did you mean --adapter.rank?")),
    "unknown section in a file": Case("sub.toml", 2, ("sub.toml", "no file")),
    "wrong type": Case("--schedule.steps many", 2, ("many", "--schedule.steps")),
    "wrong type in a file": Case("wolf.toml", 2, ("many", "wolf.toml:2"), _options_file),
    "no steps": Case("--schedule.steps 0", 2, ("schedule.steps", "0", "1")),
    "negative rate": Case("--optimizer adamw --optimizer.learning-rate -1", 2, ("learning", "-1")),
    "base that is not SDXL": Case(
        "--model.base sd15", 3, ("sd15", "lacks text_encoder_2, tokenizer_2", "model.base"), _sd15
    ),
    "base with another denoiser": Case(
        "", 3, ("is not SDXL", "addition_embed_type None where SDXL has 'text_time'", "model.base"), _not_text_time
    ),
    "pickled weights": Case(
        "", 3, ("diffusion_pytorch_model.bin, a pickle, which can run code", "safetensors weights"), _pickled
    ),
    "weights cut short": Case("", 3, ("could not be opened", "model.base", "Fetch it again"), _truncated_weights),
    "missing base folder": Case(
        "--model.base ./nowhere/sdxl", 3, ("there is no base at './nowhere/sdxl'", "model.base", "a folder in the")
    ),
    "a file of zeros as base": Case(
        "--model.base sdxl.safetensors", 3, ("sdxl.safetensors is not a safetensors file", "model.base"), _zeros
    ),
    "folder that is no base": Case("--model.base pictures", 3, ("it has no model_index.json", "model.base")),
    "odd resolution": Case(
        "--data.resolution 50", 2, ("the resolution 50 is not a multiple of 32", "data.resolution", "Give 64")
    ),
    "unknown device": Case("--runtime.device tpu", 2, ("tpu", "cuda, cuda:N, mps or cpu", "runtime.device")),
    "device that is not here": Case(
        "--runtime.device cuda:7", 2, ("there is no device 'cuda:7'", "runtime.device", "Use auto")
    ),
    "unknown colour": Case("--data.background blurple", 2, ("blurple", "data.background")),
    "more held out than there are": Case(
        "--validation.held-out 3", 2, ("holding out 3 of 3 pictures leaves none", "Hold out fewer than 3")
    ),
    "a folder of other files": Case("", 2, ("thesis.docx", "Choose an empty or a new folder"), _foreign_files),
    "a finished run's folder": Case("", 2, ("holds a finished run", "Choose another folder"), _finished),
    "a file in the folder's place": Case("", 2, ("is a file, not a folder", "Choose another"), _a_file_in_its_place),
    "resume of nothing": Case("--resume nowhere", 2, ("there is no run in", "nowhere")),
}


@pytest.fixture
def ask(
    tiny_base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], tuple[int, str]]:
    """Runs `lorasmith train` in a folder with pictures and a base; the exit code and the talk."""
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path / "pictures", 3, captions=["a photo of TOK"])
    shutil.copytree(tiny_base, tmp_path / "base")
    plain = {
        "--model.base": "base",
        "--data.instance-images": "pictures",
        "--data.cache-folder": "latents",
        "--output.folder": "run",
        "--schedule.steps": "2",
        "--runtime.device": "cpu",
    }

    def run(words: str) -> tuple[int, str]:
        said = words.split()
        rest = (
            [] if "--resume" in said else [word for name in plain if name not in said for word in (name, plain[name])]
        )
        with pytest.raises(SystemExit) as left:
            main(["train", *said, *rest])
        streams = capsys.readouterr()
        assert isinstance(left.value.code, int)
        assert (streams.out == "") == (left.value.code != 0), "data is on stdout when there is any, and nothing else"
        return left.value.code, streams.err

    return run


def files_in(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.mark.parametrize("name", CASES)
def test_a_refusal_says_what_where_and_what_to_do_and_writes_nothing(
    ask: Callable[[str], tuple[int, str]], tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    case.prepare(tmp_path)
    before = files_in(tmp_path)
    code, talk = ask(case.words)
    flat = " ".join(talk.split())
    assert (code, [part for part in case.says if part not in flat]) == (case.code, []), talk
    assert "Traceback" not in talk
    assert "error: " in talk
    assert "did not foresee" not in talk
    after = files_in(tmp_path)
    written = {path for path in after.keys() - before.keys() if after[path] is not None}
    if name != "weights cut short":  # found out when the run already has its folder
        assert written == set()
    assert {path: after[path] for path in before} == before, "what was there is as it was"


def test_a_disk_that_is_full_from_the_start_is_said(
    ask: Callable[[str], tuple[int, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder.os, "fsync", full)
    code, talk = ask("")
    assert code == 4
    assert "the disk is full: could not write" in talk
    assert "config.resolved.json" in talk
    assert "Free some space" in talk
    assert not (tmp_path / "run" / "config.resolved.json").exists()


def test_a_refused_run_can_be_mended_and_started_again_in_the_same_folder(
    ask: Callable[[str], tuple[int, str]], tmp_path: Path, tiny_base: Path
) -> None:
    _truncated_weights(tmp_path)
    quick = "--data.resolution 32 --validation.steps 1 --validation.count 1"
    assert ask(quick)[0] == 3
    assert (tmp_path / "run" / "config.resolved.json").exists()
    shutil.copytree(tiny_base, tmp_path / "base", dirs_exist_ok=True)
    assert ask(quick) == (0, ANY)
    assert (tmp_path / "run" / "export" / "pytorch_lora_weights.safetensors").exists()
