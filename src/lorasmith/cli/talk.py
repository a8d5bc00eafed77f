"""Owns how the command line speaks: data on stdout, talk on stderr, no escapes from files; formats no tables."""

import logging
import os
import re
import sys
import traceback
from collections.abc import Sequence

from rich.console import Console

from lorasmith.errors import LorasmithError, Problem, StoppedError

# CSI and OSC sequences, other escapes, then what is left of control characters except tab and newline.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-_]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)
# Marks that reorder the text around them, so that a file's name could show as another.
_DIRECTION_MARKS = re.compile("[\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without terminal escapes, control characters and marks that reorder it."""
    return _DIRECTION_MARKS.sub("", _ESCAPES.sub("", text))


def talk_console() -> Console:
    """Where talk goes: stderr, in colour only on a terminal and without NO_COLOR."""
    return Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


def quieten_libraries() -> None:
    """Their warnings are about packages and defaults that are not the user's; transformers' can be asked for."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    # On some CPUs bitsandbytes misses a kernel for 4-bit weights; peft imports it wherever it is installed.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


def say(text: str) -> None:
    """One line of talk."""
    talk_console().print(clean(text))


def tell_notice(text: str) -> None:
    """Something the user may not have meant."""
    talk_console().print(f"note: {clean(text)}", style="yellow")


def give(text: str) -> None:
    """Data, on stdout; shown text from files is clean."""
    sys.stdout.write(clean(text) + "\n")
    sys.stdout.flush()


def give_exactly(text: str) -> None:
    """Data whose writer has escaped everything already, such as JSON."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def report_refusal(error: LorasmithError) -> None:
    """All problems of a refusal, each with where it was said and what to do."""
    console = talk_console()
    if isinstance(error, StoppedError):  # the user asked for it: nothing is wrong
        console.print(clean(str(error)))
        return
    problems: Sequence[Problem] = error.problems
    if len(problems) == 1:
        console.print(f"error: {clean(str(problems[0]))}", style="red")
        return
    console.print(f"error: {len(problems)} problems", style="red")
    for problem in problems:
        console.print(f"  - {clean(str(problem))}")


def report_unexpected(error: BaseException, *, debug: bool) -> None:
    """A failure nobody foresaw, short; with `debug` the traceback."""
    console = talk_console()
    if debug:
        console.print(clean("".join(traceback.format_exception(error))))
    summary = clean(f"{type(error).__name__}: {error}".strip().partition("\n")[0])
    console.print(f"error: lorasmith stopped on something it did not foresee: {summary}", style="red")
    if not debug:
        console.print("This is a bug of ours. The same command with --debug shows where it happened.")
