"""A caption longer than the text encoders read is named, with how much of it is cut off."""

from pathlib import Path

from lorasmith.config.train import TrainConfig
from lorasmith.events import Event, Notice
from lorasmith.run_folder import RunFolder
from lorasmith.runs.plan import survey
from lorasmith.runs.prepare import prepare
from lorasmith.testing import pictures, tiny_pipeline


def test_what_is_cut_off_a_long_caption_is_said_before_training(tmp_path: Path) -> None:
    long = "TOK" + " a" * 90
    pictures(tmp_path / "pictures", 2, captions=[long, "a TOK"])
    config = TrainConfig.model_validate(
        {
            "model": {"base": str(tiny_pipeline(tmp_path / "base"))},
            "data": {"instance_images": tmp_path / "pictures", "cache_folder": tmp_path / "cache"},
            "schedule": {"steps": 1},
            "output": {"folder": tmp_path / "run"},
        }
    )
    heard: list[Event] = []
    prepare(config, survey(config), RunFolder(tmp_path / "run"), heard.append)
    notices = [event.text for event in heard if isinstance(event, Notice)]
    # Start and end of text, two new tokens and ninety words make 94 tokens; the encoders read 77.
    assert notices == [f"the last 17 tokens of this prompt are not read, it is too long: {long}"]
