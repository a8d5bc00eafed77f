"""Asked to stop while class images are drawn, a run leaves between two of them and goes on with those it has."""

from pathlib import Path

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.data.class_images import class_images
from lorasmith.errors import StoppedError
from lorasmith.events import Event, WorkDone
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.testing import pictures, tiny_pipeline


def test_a_run_stopped_while_drawing_class_images_keeps_them_and_goes_on(tmp_path: Path) -> None:
    pictures(tmp_path / "pictures", 2)
    config = TrainConfig.model_validate(
        {
            "model": {"base": str(tiny_pipeline(tmp_path / "base"))},
            "data": {
                "instance_images": tmp_path / "pictures",
                "instance_prompt": "a TOK",
                "cache_folder": tmp_path / "cache",
            },
            "prior": {"class_prompt": "a thing", "num_class_images": 3, "sample_batch_size": 1, "sample_steps": 2},
            "schedule": {"steps": 2, "batch_size": 1},
            "validation": {"steps": 2},
            "output": {"folder": tmp_path / "run"},
        }
    )
    stop = StopSignal()

    def stop_after_the_first(event: Event) -> None:
        if isinstance(event, WorkDone) and event.task == "drawing class images":
            stop.ask()

    with pytest.raises(StoppedError, match="drawing class images"):
        train(config, emit=stop_after_the_first, stop=stop)
    folder = RunFolder(tmp_path / "run")
    (first,) = class_images(folder.class_images)
    drawn = first.read_bytes()

    resume(folder.path)
    assert len(class_images(folder.class_images)) == 3
    assert first.read_bytes() == drawn
    assert folder.state() == "finished"
