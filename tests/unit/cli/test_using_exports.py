"""The commands that use what a run made: generate and verify; and doctor."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import pytest
import torch
from safetensors.torch import save_file  # pyright: ignore[reportUnknownVariableType]

from lorasmith.export_manifest import ConceptFile, ExportManifest, write_manifest
from lorasmith.sizes import Size


class Answer(Protocol):
    """What a command line came to."""

    code: int
    data: str
    talk: str


Ask = Callable[..., Answer]


class FakeRequest:
    """Stands for GenerateRequest: holds whatever it is given."""

    def __init__(self, **said: object) -> None:
        self.said = said


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[FakeRequest]:
    """What was asked to be drawn; nothing is."""
    asked: list[FakeRequest] = []

    def generate(request: FakeRequest, emit: object) -> Any:
        del emit
        asked.append(request)
        result: Any = ModuleType("result")
        result.pictures, result.sheet = (Path("out/seed-0.png"), Path("out/seed-1.png")), Path("out/sheet.png")
        return result

    module: Any = ModuleType("lorasmith.runs.generate")
    module.GenerateRequest, module.generate = FakeRequest, generate
    monkeypatch.setitem(sys.modules, "lorasmith.runs.generate", module)
    return asked


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A run folder whose export is two new tokens."""
    export = tmp_path / "wolf" / "export"
    export.mkdir(parents=True)
    save_file(
        {"clip_l": torch.ones(2, 8), "clip_g": torch.ones(2, 16)}, export / "wolf_emb.safetensors", {"by": "a test"}
    )
    concept = ConceptFile(tokens=("<s0>", "<s1>"), file="wolf_emb.safetensors")
    write_manifest(export, ExportManifest(base="embedded", lora=None, abstractions={"TOK": concept}))
    return export.parent


def test_generate_asks_for_what_was_said_and_names_the_pictures(ask: Ask, drawn: list[FakeRequest]) -> None:
    answer = ask("generate", "wolf", "a TOK", "--count=2", "--seed=3", "--scale=0.8", "--size=96x64",
                 "--no-side-by-side", "--out=pictures", "--device=cpu")  # fmt: skip
    assert answer.code == 0
    assert answer.data.splitlines() == [str(Path("out/seed-0.png")), str(Path("out/seed-1.png"))]
    (request,) = drawn
    assert request.said == {
        "source": Path("wolf"), "prompt": "a TOK", "negative_prompt": "", "more_prompts": (), "count": 2, "seed": (3,),
        "scale": 0.8, "checkpoint": (), "steps": 25, "guidance": 5.0, "sampler": None, "schedule": None,
        "size": Size(height=64, width=96), "side_by_side": False, "out": Path("pictures"), "base": None,
        "device": "cpu", "batch_size": None, "clip_skip": None, "long_prompts": None, "prompt_syntax": "a1111",
        "lora": (), "embedding": (), "lora_folder": (), "embedding_folder": (), "program": None,
    }  # fmt: skip


def test_generate_takes_lists_and_no_run(ask: Ask, drawn: list[FakeRequest]) -> None:
    answer = ask("generate", "a TOK", "--seed=1,2,3", "--scale=0.5, 1", "--checkpoint=100,final", "--prompt=another",
                 "--lora=a.safetensors", "--lora=b.safetensors:0.5", "--sampler=dpmpp_2m",
                 "--schedule=karras")  # fmt: skip
    assert answer.code == 0
    said = drawn[0].said
    assert (said["source"], said["prompt"], said["more_prompts"]) == (None, "a TOK", ("another",))
    assert (said["seed"], said["scale"], said["checkpoint"]) == ((1, 2, 3), (0.5, 1.0), ("100", "final"))
    assert said["lora"] == ("a.safetensors", "b.safetensors:0.5")
    assert (said["sampler"], said["schedule"]) == ("dpmpp_2m", "karras")


def test_generate_takes_a_list_option_that_is_repeated(ask: Ask, drawn: list[FakeRequest]) -> None:
    answer = ask("generate", "wolf", "a TOK", "--seed=1", "--seed=2,3", "--scale=0.5", "--scale=1",
                 "--checkpoint=100", "--checkpoint=final")  # fmt: skip
    assert answer.code == 0
    said = drawn[0].said
    assert (said["seed"], said["scale"], said["checkpoint"]) == ((1, 2, 3), (0.5, 1.0), ("100", "final"))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["wolf", "a", "TOK"], "Put the prompt in quotes"),
        (["."], "there is no prompt"),
        (["x", "--seed=a"], "'a' is not"),
    ],
)
def test_what_is_no_prompt_is_refused(ask: Ask, drawn: list[FakeRequest], words: list[str], complaint: str) -> None:
    answer = ask("generate", *words)
    assert (answer.code, drawn) == (2, [])
    assert complaint in " ".join(answer.talk.split())


@pytest.mark.parametrize("size", ["big", "64", "0x64", "64x"])
def test_a_size_that_is_none_is_refused(ask: Ask, drawn: list[FakeRequest], size: str) -> None:
    answer = ask("generate", "wolf", "a TOK", "--size", size)
    assert (answer.code, drawn) == (2, [])
    assert repr(size) in answer.talk


def test_verify_says_what_the_files_of_a_run_hold(ask: Ask, run_folder: Path) -> None:
    answer = ask("verify", str(run_folder))
    assert answer.code == 0
    assert answer.data == "ok     wolf_emb.safetensors: embeddings format, 2 new tokens\n"


def test_verify_refuses_a_file_with_numbers_that_are_not_finite(ask: Ask, run_folder: Path) -> None:
    file = run_folder / "export" / "wolf_emb.safetensors"
    save_file({"clip_l": torch.full((2, 8), torch.nan), "clip_g": torch.ones(2, 16)}, file, {"by": "a test"})
    answer = ask("verify", str(file))
    assert answer.code == 3
    assert answer.data.startswith("BROKEN wolf_emb.safetensors")
    assert "not finite" in answer.talk


def test_verify_refuses_what_is_not_there(ask: Ask, tmp_path: Path) -> None:
    assert ask("verify", str(tmp_path / "nowhere")).code == 2
    assert ask("verify", str(tmp_path)).code == 3


def test_doctor_names_versions_device_and_cache(ask: Ask, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    data = ask("doctor").data
    for part in ("lorasmith ", f"torch            {torch.__version__}", "device ", f"cache folder     {tmp_path}"):
        assert part in data


def test_bench_asks_for_what_was_said_and_prints_ratios(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[FakeRequest] = []

    def bench_step(request: FakeRequest) -> Any:
        asked.append(request)
        timing: Any = ModuleType("timing")
        timing.median, timing.lower, timing.upper, timing.ratio = 0.52, 0.51, 0.53, 1.04
        result: Any = ModuleType("result")
        result.device, result.precision, result.threads, result.size = "cpu", "fp32", 1, 256
        result.batch_size, result.rank, result.denoiser_parameters = 1, 4, 120_000_000
        result.timings, result.optimizer_state = {"step after the pivot": timing}, {"denoiser": 99}
        result.share_of_matmul, result.peak_bytes = 0.4, 2**30
        return result

    module: Any = ModuleType("lorasmith.bench.step")
    module.BenchRequest, module.bench_step = FakeRequest, bench_step
    monkeypatch.setitem(sys.modules, "lorasmith.bench.step", module)
    answer = ask("bench", "step", "--rank=4", "--base=pipelines/mine", "--optimizer=adamw", "--rounds=3")
    assert answer.code == 0
    (request,) = asked
    assert (request.said["rank"], request.said["base"], request.said["optimizer"], request.said["rounds"]) == (
        4, Path("pipelines/mine"), "adamw", 3,
    )  # fmt: skip
    assert "step after the pivot       1.04   0.520 s  0.510–0.530 s" in answer.data
    assert ask("bench", "step", "--optimizer=sgd").code == 2
