# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportGeneralTypeIssues=false
# TensorBoard is not typed.
"""A whole run in TensorBoard: its curves are those of metrics.jsonl, its pictures those of samples/, once each."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, Notice, StepDone
from lorasmith.run_folder import RunFolder, read_records
from lorasmith.runs.train import resume, train

NAMES = {
    "loss": "train/loss",
    "instance_loss": "train/instance_loss",
    "prior_loss": "train/prior_loss",
    "seconds": "time/seconds_per_step",
}
GROUPS = {"rates": "rate", "gradient_norms": "gradient_norm", "distances": "prodigy_d"}


def crash_after(step: int) -> Callable[[Event], None]:
    """A listener that brings the run down."""

    def hear(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == step:
            raise RuntimeError("crash")

    return hear


def curves_in(metrics: Iterable[Any]) -> dict[str, list[tuple[int, float]]]:
    """The curves that `metrics.jsonl` draws, by the names they have in trackers."""
    curves: dict[str, list[tuple[int, float]]] = {}

    def point(name: str, step: int, value: float | None) -> None:
        if value is not None:
            curves.setdefault(name, []).append((step, np.float32(value).item()))

    for record in metrics:
        step, is_step = record["step"], record["event"] == "StepDone"
        for field, name in NAMES.items() if is_step else [("loss", "validation/loss")]:
            point(name, step, record[field])
        for field, name in GROUPS.items() if is_step else ():
            for part, value in record[field].items():
                point(f"{name}/{part}", step, value)
        for bucket, told in record["by_timestep"].items():
            kind = "train" if is_step else "validation"
            point(f"{kind}_loss_by_timestep/{bucket}", step, told["loss"] if is_step else told)
    return curves


@pytest.fixture
def crashed_and_resumed(small_config: Callable[..., TrainConfig]) -> RunFolder:
    """A run of 8 steps that crashed after step 5, went on from its checkpoint after step 3, and finished."""
    config = small_config(
        tracking={"report_to": ["tensorboard"], "folder": "logs"},
        checkpoint={"every": 3},
        prior={"class_prompt": "a thing", "num_class_images": 2, "sample_steps": 1},
        validation={"prompts": ["a TOK"], "count": 2, "steps": 1, "every": 2, "held_out": 1},
        schedule={"steps": 8, "batch_size": 2, "pivot": 0.5},
    )
    with pytest.raises(RuntimeError, match="crash"):
        train(config, emit=crash_after(5))
    return RunFolder(resume(config.output.folder))


def test_a_run_that_crashed_and_went_on_has_in_tensorboard_exactly_what_its_own_files_have(
    crashed_and_resumed: RunFolder,
) -> None:
    run = crashed_and_resumed
    shown = EventAccumulator(str(run.path / "logs" / "tensorboard" / "run"), size_guidance={"images": 0, "scalars": 0})
    shown.Reload()
    curves = {tag: [(event.step, event.value) for event in shown.Scalars(tag)] for tag in shown.Tags()["scalars"]}
    trains = {tag: points for tag, points in curves.items() if tag.startswith("trains/")}
    assert {tag: curves[tag] for tag in curves if tag not in trains} == curves_in(read_records(run.metrics_file))
    assert trains["trains/denoiser"] == [(step, 1.0) for step in range(1, 9)]
    assert trains["trains/new_tokens_1"] == [(step, float(step <= 4)) for step in range(1, 9)]
    images = {(event.step, tag): event for tag in shown.Tags()["images"] for event in shown.Images(tag)}
    assert set(images) == {(step, f"samples/{place:02d} a TOK") for step in (2, 4, 6, 8) for place in (0, 1)}
    for (step, tag), event in images.items():
        place = tag.split()[0].partition("/")[2]
        drawn = Image.open(run.samples / f"step-{step:06d}-{place}.png").convert("RGB")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(event.encoded_image_string))), np.asarray(drawn))


def test_trackers_that_cannot_write_are_told_of_once_each_and_the_run_finishes(
    small_config: Callable[..., TrainConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    (tmp_path / "file").write_text("in the way")
    config = small_config(
        tracking={"report_to": ["tensorboard", "wandb"], "folder": tmp_path / "file"}, validation={"steps": 1}
    )
    told: list[Event] = []
    folder = train(config, emit=told.append)
    notices = [event.text for event in told if isinstance(event, Notice)]
    assert sorted(text.partition(" ")[0] for text in notices) == ["tensorboard", "wandb"]
    assert all("shows no more of this run" in text for text in notices)
    assert RunFolder(folder).state() == "finished"
    assert sum(record["event"] == "StepDone" for record in read_records(RunFolder(folder).metrics_file)) == 8
