"""The list of options is a promise: a new, renamed or dropped flag shows up here, to be meant."""

from pathlib import Path

from lorasmith.config.flags import options

RECORDED = Path(__file__).parent / "option_list.txt"


def test_the_options_are_those_on_the_recorded_list() -> None:
    recorded = RECORDED.read_text(encoding="utf-8").splitlines()
    assert sorted(option.flag for option in options().values()) == recorded, (
        "the options changed; if that is meant, change tests/contracts/option_list.txt and docs with it"
    )
