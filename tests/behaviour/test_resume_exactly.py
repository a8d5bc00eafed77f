"""A run that was stopped and went on ends with the same bytes as one that never stopped, whatever it trains.

Each case stops before, at or right after the pivot (step 4) and in the middle of an epoch; a difference at any stop
stays in the weights to the end.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from resuming import QUICK_PICTURES, assert_same_result, in_folder, metrics_of, starts_of, train_with_stops

from lorasmith.config.train import TrainConfig
from lorasmith.run_folder import RunFolder
from lorasmith.runs.train import train
from lorasmith.sizes import Size
from lorasmith.testing import pictures

ADAMW = {"name": "adamw", "learning_rate": 1e-2}
PRODIGY = {"name": "prodigy", "d0": 1e-4}
TWO_CONCEPTS = ("a TOK in red", "a photo of TOK2", "TOK beside TOK2")


@dataclass(frozen=True)
class Case:
    """What is trained, and after which steps it is stopped."""

    stops: tuple[int, ...]
    options: dict[str, Any]
    captions: tuple[str, ...] = ("a photo of TOK", "TOK in green", "a TOK")
    sizes: tuple[Size, ...] = (Size(64, 64),)


CASES = {
    "adamw, cached latents, stops around the pivot": Case((3, 4, 5), {"optimizer": ADAMW}),
    "prodigy, random crops, flips, accumulation, class images": Case(
        (3, 5),
        {
            "optimizer": PRODIGY,
            "data": {"resolution": 32, "crop": "random", "flip": True},
            "schedule": {"steps": 6, "batch_size": 1, "gradient_accumulation": 2},
            "prior": {"class_prompt": "a photo of a thing", "num_class_images": 2, "sample_steps": 1},
        },
        sizes=(Size(64, 48), Size(48, 64)),
    ),
    "text-encoder LoRA, dropout, buckets, cached flips, class images": Case(
        (3, 6),
        {
            "optimizer": ADAMW,
            "data": {"buckets": True, "flip": True},
            "adapter": {"rank": 2, "text_encoders": True, "dropout": 0.3},
            "schedule": {"steps": 8, "batch_size": 1, "text_encoder_fraction": 0.75},
            "prior": {"class_prompt": "a photo of a thing", "num_class_images": 2, "sample_steps": 1},
            "validation": {**QUICK_PICTURES, "prompts": ("a TOK",), "every": 6},
        },
        sizes=(Size(64, 64), Size(96, 48)),
    ),
    "the base teaches with its adapter off, text-encoder LoRA, EDM's style": Case(
        (3, 5),
        {
            "optimizer": ADAMW,
            "adapter": {"rank": 2, "text_encoders": True},
            "objective": {"edm_style": True},
            "schedule": {"steps": 6, "batch_size": 1},
            "prior": {"source": "adapter_off", "class_word": "thing"},
        },
    ),
    "DoRA, dropout, two concepts, prodigy, nothing cached, warm-up, held-out loss": Case(
        (2, 5),
        {
            "optimizer": PRODIGY,
            "data": {"cache_latents": False},
            "adapter": {"rank": 2, "kind": "dora", "dropout": 0.2},
            "tokens": {"abstractions": ("TOK", "TOK2"), "init": ("red", "")},
            "objective": {"snr_gamma": 5.0, "noise_offset": 0.1},
            "schedule": {"steps": 7, "batch_size": 1, "lr_schedule": "cosine", "warmup_steps": 2},
            "validation": {**QUICK_PICTURES, "held_out": 1, "every": 3},
        },
        captions=(*TWO_CONCEPTS, "TOK2 in blue"),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_stopped_run_ends_with_the_same_bytes(
    small_config: Callable[..., TrainConfig], tmp_path: Path, name: str
) -> None:
    case = CASES[name]
    config = small_config(**_sections(case, tmp_path))
    uninterrupted = RunFolder(train(in_folder(config, tmp_path / "uninterrupted")))
    stopped = train_with_stops(in_folder(config, tmp_path / "stopped"), case.stops)
    assert starts_of(stopped) == [0, *case.stops]
    assert_same_result(stopped, uninterrupted)
    assert _trained_every_step(stopped, config)


def _sections(case: Case, folder: Path) -> dict[str, Any]:
    images = folder / "pictures"
    for number, caption in enumerate(case.captions):
        size = case.sizes[number % len(case.sizes)]
        (path,) = pictures(images / str(number), 1, size=size)
        path.rename(images / f"{number}.png")
        (images / f"{number}.txt").write_text(caption)
        (images / str(number)).rmdir()
    data = {"instance_images": images, **case.options.get("data", {})}
    schedule = {"steps": 8, **case.options.get("schedule", {})}
    return {"validation": QUICK_PICTURES, "adapter": {"rank": 2}, **case.options, "data": data, "schedule": schedule}


def _trained_every_step(run: RunFolder, config: TrainConfig) -> bool:
    steps = [record["step"] for record in metrics_of(run) if record["event"] == "StepDone"]
    return steps == list(range(1, (config.schedule.fixed_steps or 0) + 1))
