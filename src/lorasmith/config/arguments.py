"""Owns the grammar of a command line: which words are flags, values or files; reads no value."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lorasmith.config.explain import sibling_of
from lorasmith.config.flags import Option, options
from lorasmith.config.reference_flags import REFERENCE_FLAGS, ReferenceFlag
from lorasmith.config.values import is_switch_word, nearest
from lorasmith.errors import Problem

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Flag:
    """One flag as it was said; `text` is its value, `spelled` what people recognise."""

    spelled: str
    target: Option | ReferenceFlag
    text: str


@dataclass(frozen=True)
class Arguments:
    """A command line taken apart."""

    words: tuple[str, ...]
    flags: tuple[Flag, ...]
    problems: tuple[Problem, ...]


def split_arguments(arguments: Sequence[str], *, also_known: Sequence[str] = ()) -> Arguments:
    """Words (files), flags with their values, and everything that is neither.

    `also_known` are flags that a caller takes itself; they are only named when a misspelled flag is near them.
    """
    reader = _Reader(list(arguments), also_known)
    while reader.waiting:
        reader.take_one()
    return Arguments(tuple(reader.words), tuple(reader.flags), tuple(reader.problems))


class _Reader:
    """Walks a command line once, from left to right."""

    def __init__(self, waiting: list[str], also_known: Sequence[str]) -> None:
        self.waiting = waiting
        self._also_known = also_known
        self.words: list[str] = []
        self.flags: list[Flag] = []
        self.problems: list[Problem] = []

    def take_one(self) -> None:
        """Take a word, or a flag with its value."""
        word = self.waiting.pop(0)
        if not word.startswith("-"):
            self.words.append(word)
            return
        spelled, equals, text = word.partition("=")
        name = spelled.removeprefix("--").replace("-", "_")
        self._take_flag(spelled, name, text if equals else None)

    def _take_flag(self, spelled: str, name: str, text: str | None) -> None:
        if name in options():
            target = options()[name]
            self._add(spelled, target, self._value(target.kind in ("switch", "section"), text))
        elif name in REFERENCE_FLAGS:
            reference = REFERENCE_FLAGS[name]
            self._add(spelled, reference, self._value(reference.is_switch, text))
        elif (switch := _negated(name)) is not None:
            self._add_negated(spelled, switch, text)
        else:
            self._value(True, text, is_value=_could_be_a_value)
            self.problems.append(_unknown(spelled, name, self._also_known))

    def _value(self, optional: bool, text: str | None, is_value: Callable[[str], bool] | None = None) -> str | None:
        if text is not None:
            return text
        following = self.waiting[0] if self.waiting else None
        if following is None or following.startswith("--"):
            return "true" if optional else None
        if not optional or (is_value or _is_switch_value)(following):
            return self.waiting.pop(0)
        return "true"

    def _add(self, spelled: str, target: Option | ReferenceFlag, text: str | None) -> None:
        if text is not None:
            self.flags.append(Flag(spelled, target, text))
            return
        self.problems.append(Problem(f"{spelled} needs a value", COMMAND_LINE, f"It must be {target.wanted}."))

    def _add_negated(self, spelled: str, switch: Option, text: str | None) -> None:
        if text is None:
            self._add(spelled, switch, "false")
        else:
            remedy = f"Say {spelled}, or {switch.flag}=true or false."
            self.problems.append(Problem(f"{spelled} takes no value, not {text!r}", COMMAND_LINE, remedy))


def _negated(name: str) -> Option | None:
    switch = options().get(name.removeprefix("no_")) if name.startswith("no_") else None
    return switch if switch and switch.kind in ("switch", "section") else None


def _is_switch_value(word: str) -> bool:
    return is_switch_word(word) or word.lower() == "none"


def _could_be_a_value(word: str) -> bool:
    return not word.endswith(".toml")


def _unknown(spelled: str, name: str, also_known: Sequence[str]) -> Problem:
    known = [*(option.flag for option in options().values()), *(f"--{flag}" for flag in REFERENCE_FLAGS), *also_known]
    inside = [option.flag for option in options().values() if option.section == name]
    by_last_word = [option.flag for option in options().values() if option.path.rpartition(".")[2] == name]
    if inside:
        remedy = f"{name} is a section: say {inside[0]} or another of its options."
    elif sibling := sibling_of(name):
        remedy = f"Did you mean {options()[sibling].flag}?"
    else:
        remedy = f"Did you mean {by_last_word[0]}?" if by_last_word else nearest(spelled, known)
    return Problem(f"there is no option {spelled}", COMMAND_LINE, remedy or "lorasmith train --help lists them all.")
