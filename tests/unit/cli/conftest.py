"""Command lines for the tests of the command line."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from lorasmith.cli.app import main


@dataclass(frozen=True)
class Answer:
    """What a command line came to."""

    code: int
    data: str
    talk: str


@pytest.fixture
def ask(capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Runs a command line: its exit code, what it gave on stdout and what it said on stderr."""

    def run(*words: str) -> Answer:
        with pytest.raises(SystemExit) as left:
            main(words)
        streams = capsys.readouterr()
        assert isinstance(left.value.code, int)
        return Answer(left.value.code, streams.out, streams.err)

    return run
