"""Runs whose captions are worded anew, with masks: they resume to the byte, keep few prompts, and say what they do."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from resuming import QUICK_PICTURES, assert_same_result, in_folder, train_with_stops

from lorasmith.config.train import TrainConfig
from lorasmith.errors import DataError, StoppedError
from lorasmith.events import Event, Notice, StepDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import plan_run
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.training import loop, prompts
from lorasmith.training.loop import Training, take_step

SmallConfig = Callable[..., TrainConfig]
SmallRun = Callable[..., Training]
CAPTIONS = ("a {red|green} TOK, round, small\nTOK, seen from __side__, shiny", "TOK, in the rain, at night", "TOK")
VARIED = {
    "caption_lines": "several", "caption_dropout": 0.2, "shuffle_tags": True, "keep_tags": 1, "tag_dropout": 0.3,
    "wildcards": True,
}  # fmt: skip
ADAMW = {"name": "adamw", "learning_rate": 1e-2}


def images(folder: Path) -> Path:
    """Three pictures with captions; two have a mask, one beside it and one in the folder of masks."""
    folder.mkdir()
    (folder / "masks").mkdir()
    for number, caption in enumerate(CAPTIONS):
        Image.new("RGB", (96, 64), (60 * number, 90, 200)).save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(caption)
    mask = Image.new("L", (96, 64))
    ImageDraw.Draw(mask).ellipse((50, 10, 90, 50), 255)
    mask.save(folder / "0-masklabel.png")
    mask.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(folder / "masks" / "1.png")
    return folder


@pytest.fixture
def data(tmp_path: Path) -> dict[str, Any]:
    """Every caption option, with masks."""
    wildcards = tmp_path / "wildcards"
    wildcards.mkdir()
    (wildcards / "side.txt").write_text("above\nbelow\nthe left\n")
    return {"instance_images": images(tmp_path / "pictures"), "wildcard_folder": wildcards, **VARIED}


@pytest.mark.parametrize("crop", ["mask", "random"])
def test_a_stopped_run_ends_with_the_same_bytes(
    small_config: SmallConfig, tmp_path: Path, data: dict[str, Any], crop: str
) -> None:
    config = small_config(
        data={**data, "crop": crop, "flip": True},
        optimizer=ADAMW,
        adapter={"rank": 2},
        objective={"unmasked_weight": 0.1, "snr_gamma": 5.0},
        schedule={"steps": 8, "batch_size": 2},
        validation={**QUICK_PICTURES, "held_out": 1, "every": 3} if crop == "mask" else QUICK_PICTURES,
    )
    uninterrupted = RunFolder(train(in_folder(config, tmp_path / "uninterrupted")))
    stopped = train_with_stops(in_folder(config, tmp_path / "stopped"), (3, 5))
    assert_same_result(stopped, uninterrupted)


@pytest.mark.parametrize("changed", ["0-masklabel.png", "masks/1.png", "../wildcards/side.txt", "0.txt"])
def test_a_run_does_not_go_on_with_other_masks_or_wordings(
    small_config: SmallConfig, tmp_path: Path, data: dict[str, Any], changed: str
) -> None:
    config = small_config(data=data, optimizer=ADAMW, validation=QUICK_PICTURES)
    stop = StopSignal()

    def ask(event: Event) -> None:
        if isinstance(event, StepDone):
            stop.ask()

    with pytest.raises(StoppedError):
        train(config, stop=stop, emit=ask)
    file = data["instance_images"] / changed
    if file.suffix == ".png":
        Image.new("L", (96, 64), 255).save(file)
    else:
        file.write_text(file.read_text().replace("above", "behind").replace("round", "square"))
    with pytest.raises(DataError, match="cannot go on"):
        resume(config.output.folder)


def test_after_the_pivot_prompts_are_read_a_stretch_ahead_and_forgotten_behind(
    small_run: SmallRun, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "CAPTIONS_AHEAD", 8)
    monkeypatch.setattr(prompts, "MOST_KEPT", 6)
    training = small_run(data=data, optimizer=ADAMW, schedule={"steps": 24, "batch_size": 2, "pivot": 0.25})
    encoded: list[int] = []
    read = training.family.encode_prompts

    def counting(texts: Any) -> Any:
        encoded.append(training.step)
        return read(texts)

    monkeypatch.setattr(training.family, "encode_prompts", counting)
    kept: list[int] = []
    for _ in range(24):
        training.enter_phase()
        take_step(training)
        kept.append(training.prompts.kept)
    assert max(kept) <= 8
    assert {step for step in encoded if step > 6} <= {8, 12, 16, 20}
    assert {8, 12, 16, 20} <= set(encoded)


def test_what_was_read_ahead_is_what_would_have_been_read_in_the_step(
    small_run: SmallRun, data: dict[str, Any]
) -> None:
    training = small_run(data=data, schedule={"steps": 12, "batch_size": 2, "pivot": 0.0})
    training.enter_phase()
    for step in range(12):
        captions = training.batches.batch_at(step).captions
        kept = training.prompts.embeddings(captions, training.phase)
        with torch.no_grad():
            fresh = [training.family.encode_prompts([text.replace("TOK", "<s0><s1>")]) for text in captions]
        assert torch.equal(kept.hidden, torch.cat([one.hidden for one in fresh]))


def test_the_plan_says_how_many_captions_and_masks_there_are(small_config: SmallConfig, data: dict[str, Any]) -> None:
    plan = plan_run(small_config(data=data, schedule={"steps": 8, "batch_size": 2}))
    assert plan.caption_variants == 16
    assert plan.captions_told == (
        "4 captions of 3 pictures, seen as up to 16 different ones, 20% of the times as an empty one"
    )
    assert plan.masks_told == "2 of 3 pictures have one; what is outside counts 0"
    plain = plan_run(small_config(data={"instance_prompt": "a TOK", "use_masks": False}))
    assert (plain.captions_told, plain.masks_told, plain.caption_variants) == ("", "", 4)


def test_a_wording_without_the_token_is_refused(small_config: SmallConfig, data: dict[str, Any]) -> None:
    (data["instance_images"] / "2.txt").write_text("a {TOK|dog}")
    with pytest.raises(DataError, match=r"1 of 3 captions without TOK.*2\.png"):
        plan_run(small_config(data=data))


def test_a_run_says_that_it_found_masks(small_config: SmallConfig, data: dict[str, Any]) -> None:
    events: list[Event] = []
    plan_run(small_config(data=data), events.append)
    notes = [event.text for event in events if isinstance(event, Notice)]
    assert any("masks say what counts of 2 pictures" in note and "2.png" in note for note in notes)


def test_cropping_around_masks_that_are_not_there_is_refused(small_config: SmallConfig) -> None:
    with pytest.raises(DataError, match="none has a mask"):
        plan_run(small_config(data={"crop": "mask"}))
