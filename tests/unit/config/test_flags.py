"""Flags and their help come from the schema."""

from lorasmith.config.flags import flag_help, options, sections
from lorasmith.config.train import TrainConfig


def test_every_option_has_a_help_sentence() -> None:
    assert [option.path for option in options().values() if len(option.help) < 8] == []


def test_sections_are_those_of_the_schema() -> None:
    names = [group.name for group in sections() if group.name]
    assert names == [name for name in TrainConfig.model_fields if name != "recipe"]


def test_help_shows_flag_placeholder_text_and_default_by_section() -> None:
    text = flag_help()
    assert "adapter: With how much capacity." in text
    assert "  --adapter.rank N\n      Rank of the denoiser's adapter. [16]" in text
    assert "--adapter.kind lora|dora" in text
    assert "[adamw 0.0001, prodigy 1, adafactor 0.0001, schedule_free_prodigy 1]" in " ".join(text.split())
    assert "Only prodigy and schedule_free_prodigy. [1]" in " ".join(text.split())
    assert all(option.flag in text for option in options().values())


def test_help_is_never_wider_than_asked() -> None:
    usages = {f"  {option.usage}" for option in options().values()}
    assert [line for line in flag_help(72).splitlines() if len(line) > 72 and line not in usages] == []
