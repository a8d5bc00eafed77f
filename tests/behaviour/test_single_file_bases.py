"""A run on a base in one file does all that a run on a folder does: plan, train, stop, resume, export, draw."""

# diffusers and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from lorasmith.cli.app import main
from lorasmith.config.train import TrainConfig
from lorasmith.errors import StoppedError
from lorasmith.events import Event, StepDone
from lorasmith.runs.generate import GenerateRequest, generate
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.testing import open_pipeline

FEW = {"steps": 4, "batch_size": 2}
QUICK = {"steps": 1, "count": 1}


def exported(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "export").glob("*.safetensors"))}


def stopping_at(step: int) -> tuple[StopSignal, Callable[[Event], None]]:
    stop = StopSignal()

    def hear(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            stop.ask()

    return stop, hear


def test_a_file_trains_to_the_same_lora_as_its_folder(
    small_config: Callable[..., TrainConfig], tiny_base: Path, tiny_file: Path, tmp_path: Path
) -> None:
    runs = [
        train(
            small_config(model={"base": str(base)}, schedule=FEW, validation=QUICK, output={"folder": tmp_path / name})
        )
        for base, name in ((tiny_base, "folder"), (tiny_file, "file"))
    ]
    weights = [load_file(run / "export" / "pytorch_lora_weights.safetensors") for run in runs]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=1e-6)


def test_a_stopped_run_goes_on_from_another_folder(
    small_config: Callable[..., TrainConfig], tiny_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny_file.parent)
    whole = train(
        small_config(
            model={"base": tiny_file.name}, schedule=FEW, validation=QUICK, output={"folder": tmp_path / "whole"}
        )
    )
    stop, hear = stopping_at(2)
    config = small_config(
        model={"base": f"./{tiny_file.name}"}, schedule=FEW, validation=QUICK, output={"folder": tmp_path / "run"}
    )
    with pytest.raises(StoppedError):
        train(config, stop=stop, emit=hear)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    resumed = resume(tmp_path / "run")
    assert {name: content for name, content in exported(resumed).items() if "lora" in name} == {
        name: content for name, content in exported(whole).items() if "lora" in name
    }


def test_what_is_shared_names_the_file_and_no_folder(small_config: Callable[..., TrainConfig], tiny_file: Path) -> None:
    run = train(
        small_config(model={"base": str(tiny_file)}, schedule=FEW, validation={**QUICK, "prompts": ("a photo of TOK",)})
    )
    secret = tiny_file.parent.as_posix()
    shared = [path for path in (run / "export").rglob("*") if path.is_file()] + [*(run / "samples").rglob("*.png")]
    assert len(shared) > 4
    assert [path.name for path in shared if secret.encode() in path.read_bytes()] == []
    assert b'"ss_sd_model_name":"tiny.safetensors"' in b"".join(exported(run).values())
    picture = Image.open(next((run / "samples").rglob("*.png")))
    assert "Model: tiny," in picture.info["parameters"]  # pyright: ignore[reportUnknownMemberType]
    card = (run / "export" / "README.md").read_text()
    assert "- Base: tiny.safetensors" in card
    assert "base_model:" not in card, "no id of a hub's is made up"


@pytest.mark.parametrize(
    ("markers", "settings"),
    [
        ((), {"prediction_type": "epsilon"}),
        (("v_pred",), {"prediction_type": "v_prediction", "rescale_betas_zero_snr": False}),
        (
            ("v_pred", "ztsnr"),
            {"prediction_type": "v_prediction", "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
        ),
    ],
)
def test_the_cards_snippet_opens_the_file_and_tells_diffusers_what_it_predicts(
    small_config: Callable[..., TrainConfig], tiny_base: Path, tiny_file: Path, monkeypatch: pytest.MonkeyPatch,
    markers: tuple[str, ...], settings: dict[str, object],
) -> None:  # fmt: skip
    save_file({**load_file(tiny_file), **{name: torch.tensor([]) for name in markers}}, tiny_file)
    run = train(small_config(model={"base": str(tiny_file)}, schedule={**FEW, "steps": 1}, validation=QUICK))
    (snippet,) = re.findall(r"```python\n(.*?)```", (run / "export" / "README.md").read_text(), flags=re.DOTALL)
    asked = list[str]()

    def from_single_file(name: str, **_: object) -> Any:
        asked.append(name)  # the tiny base's shapes are unknown to diffusers
        return open_pipeline(tiny_base)

    monkeypatch.setattr(diffusers.StableDiffusionXLPipeline, "from_single_file", from_single_file)
    monkeypatch.chdir(run / "export")
    names: dict[str, Any] = {}
    exec(snippet.replace("cross_attention_kwargs", "num_inference_steps=1, cross_attention_kwargs"), names)  # noqa: S102
    assert asked == ["tiny.safetensors"]
    config = names["pipe"].scheduler.config
    assert {name: config[name] for name in settings} == settings


def test_pictures_are_drawn_with_a_run_and_with_an_export_beside_the_file(
    small_config: Callable[..., TrainConfig], tiny_file: Path, tmp_path: Path
) -> None:
    run = train(small_config(model={"base": str(tiny_file)}, schedule=FEW, validation=QUICK))
    with_run = generate(GenerateRequest(run, "a photo of TOK", count=1, steps=1, out=tmp_path / "a"))
    moved = (run / "export").rename(tmp_path / "export")
    with_file = generate(
        GenerateRequest(moved, "a photo of TOK", count=1, steps=1, out=tmp_path / "b", base=str(tiny_file))
    )
    assert with_run.pictures[0].read_bytes() == with_file.pictures[0].read_bytes()


def test_an_export_whose_file_is_not_here_says_to_name_it(
    small_config: Callable[..., TrainConfig], tiny_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = train(small_config(model={"base": str(tiny_file)}, schedule={**FEW, "steps": 1}, validation=QUICK))
    moved = (run / "export").rename(tmp_path / "export")
    with pytest.raises(SystemExit) as left:
        main(["generate", str(moved), "a photo of TOK"])
    said = " ".join(capsys.readouterr().err.split())
    assert left.value.code == 3
    assert "there is no base at 'tiny.safetensors'" in said
    assert "--base" in said
    assert ".safetensors checkpoint" in said


def test_a_dry_run_reads_the_header_alone(
    tiny_file: Path, small_config: Callable[..., TrainConfig], capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = small_config().data.instance_images
    with pytest.raises(SystemExit) as left:
        main(
            [
                *("train", "--dry-run", "--model.base", str(tiny_file), "--data.instance-images", str(pictures)),
                *("--data.instance-prompt", "a TOK", "--output.folder", str(tiny_file.parent / "run")),
            ]
        )
    streams = capsys.readouterr()
    assert left.value.code == 0, streams.err
    assert "tiny.safetensors" in "".join((streams.out + streams.err).split())
