"""What the reference script gets wrong around the training itself: its ends, its refusals and what it leaves behind."""

# diffusers and safetensors are only partly typed.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError
from lorasmith.events import Event, StepDone
from lorasmith.inference import draw as drawing
from lorasmith.models.sdxl import components
from lorasmith.runs import prepare, sampling
from lorasmith.runs.train import train
from lorasmith.testing import tiny_pipeline

SmallConfig = Callable[..., TrainConfig]


@dataclass(frozen=True)
class Finished:
    """A run that came to its end, and what was noticed on the way."""

    folder: Path
    events: list[Event]
    opened: int
    drawn: list[str]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainConfig], Finished]:
    """Runs a config to its end and notes how often a base was opened and which prompts were drawn."""

    def run(config: TrainConfig) -> Finished:
        events: list[Event] = []
        opened: list[Path] = []
        drawn: list[str] = []

        def counting(model: Any, *, dtype: torch.dtype) -> Any:
            opened.append(model.base)
            return components.open_components(model, dtype=dtype)

        def noting(pipeline: Any, requests: Any, **options: Any) -> Any:
            for request in requests:
                assert pipeline.tokenizer.convert_tokens_to_ids("<s3>") == len(pipeline.tokenizer) - 1
                drawn.append(request.prompt)
            return drawing.draw(pipeline, requests, **options)

        monkeypatch.setattr(prepare, "open_components", counting)
        monkeypatch.setattr(sampling, "draw", noting)
        return Finished(train(config, emit=events.append), events, len(opened), drawn)

    return run


def test_a_run_in_a_nested_folder_ends_with_every_export_and_opens_its_base_once(
    small_config: SmallConfig, watched: Callable[[TrainConfig], Finished], tmp_path: Path
) -> None:
    """C-5, C-18, C-19, C-21, C-22, C-28: called from Python, into a nested folder, with two concepts."""
    for caption in small_config().data.instance_images.glob("*.txt"):  # pyright: ignore[reportOptionalMemberAccess]
        caption.write_text(caption.read_text().replace("TOK", "TOK and TOK2"))
    done = watched(
        small_config(
            tokens={"abstractions": ["TOK", "TOK2"]},
            schedule={"steps": 2},
            output={"folder": tmp_path / "deep" / "nested" / "my run", "name": "two-things"},
            validation={"steps": 1},
            data={"instance_prompt": "a photo of TOK and TOK2"},
        )
    )
    export = done.folder / "export"
    assert done.folder == tmp_path / "deep" / "nested" / "my run"
    for word in ("TOK", "TOK2"):
        (file,) = (
            export.glob(f"*{word}_emb.safetensors") if word == "TOK2" else export.glob("*[!0-9]TOK_emb.safetensors")
        )
        assert {name: tuple(rows.shape) for name, rows in load_file(file).items()} == {
            "clip_l": (2, 32),
            "clip_g": (2, 48),
        }
    assert (export / "pytorch_lora_weights.safetensors").is_file()
    assert (export / "two-things.safetensors").is_file()
    card = (export / "README.md").read_text()
    assert "TOK2" in card
    assert "image_0.png" in card
    assert (export / "image_0.png").is_file()
    assert done.opened == 1
    assert done.drawn
    assert all("<s0><s1>" in prompt and "<s2><s3>" in prompt for prompt in done.drawn)


def test_prior_preservation_works_with_frozen_text_encoders(
    small_config: SmallConfig, watched: Callable[[TrainConfig], Finished], tmp_path: Path
) -> None:
    """C-7: the script's commonest mode ends in a TypeError before its first step."""
    prior = {
        "class_prompt": "a photo of a dog",
        "class_images": tmp_path / "class",
        "num_class_images": 2,
        "sample_steps": 1,
    }
    config = small_config(prior=prior, schedule={"steps": 2}, validation={"steps": 1})
    done = watched_without_tokens(config)
    losses = [event for event in done if isinstance(event, StepDone)]
    assert len(losses) == 2
    assert all(event.prior_loss is not None and event.prior_loss > 0 for event in losses)
    assert len(list((tmp_path / "class").glob("*.png"))) == 2


def watched_without_tokens(config: TrainConfig) -> list[Event]:
    events: list[Event] = []
    tokens = config.tokens.model_copy(update={"enabled": False})
    train(config.model_copy(update={"tokens": tokens}), emit=events.append)
    return events


def test_min_snr_on_a_base_with_edm_noise_is_refused_before_anything_is_written(
    small_config: SmallConfig, tmp_path: Path
) -> None:
    """C-24: the script lets Playground v2.5 with --snr_gamma pass and fails later."""
    base = tiny_pipeline(tmp_path / "edm-base", noise="edm")
    config = small_config(model={"base": str(base)}, objective={"snr_gamma": 5.0})
    with pytest.raises(ConfigError, match="EDM scheduler") as refused:
        train(config)
    assert refused.value.problems[0].where == "objective.snr_gamma"
    assert not config.output.folder.exists()


def test_one_broken_picture_is_named_before_the_base_is_opened(
    small_config: SmallConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C-23: one bad file ends the script's run, and it does not say which."""
    config = small_config()
    assert config.data.instance_images is not None
    broken = config.data.instance_images / "picture-002.png"
    broken.write_bytes(broken.read_bytes()[:200])

    def never(*_: object, **__: object) -> None:
        raise AssertionError("the base must not be opened")

    monkeypatch.setattr(prepare, "open_components", never)
    with pytest.raises(DataError, match=r"picture-002\.png"):
        train(config)


def test_what_is_asked_of_a_prodigy_run_with_the_scripts_text_rate_is_done(small_config: SmallConfig) -> None:
    """C-20: the script's own default --text_encoder_lr 5e-6 ends a Prodigy run with new tokens at its first step."""
    config = small_config(
        rates={"new_tokens_1": 5e-6, "new_tokens_2": 5e-6}, schedule={"steps": 2}, validation={"steps": 1}
    )
    events: list[Event] = []
    train(config, emit=events.append)
    rates = next(event.rates for event in events if isinstance(event, StepDone))
    assert rates["new_tokens_1"] / rates["denoiser"] == pytest.approx(5e-6)
