"""Owns turning what the schema refuses into sentences with value, place and remedy; refuses nothing itself."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from lorasmith.config.flags import as_text, options, union_sections
from lorasmith.config.origin import Origin, Setting
from lorasmith.config.values import nearest, nearest_name
from lorasmith.errors import Problem

_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_WORDS_FOR_NAME = ("kind", "type", "variant", "class")


def explain(error: ValidationError, origins: Mapping[str, Origin]) -> tuple[Problem, ...]:
    """One problem for each thing the schema refuses, at the place where its value was said."""
    return tuple(_problem(detail, origins) for detail in details_of(error))


def details_of(error: ValidationError) -> tuple[ErrorDetails, ...]:
    """What pydantic says, once for each thing: of a number or a word in its place it says two."""
    return tuple(detail for detail in error.errors(include_url=False) if not _is_about_a_word(detail))


def _is_about_a_word(detail: ErrorDetails) -> bool:
    """Whether it says that a number is none of the words that may stand in its place; the bounds say more."""
    return detail["type"] == "literal_error" and _option_at(detail["loc"]) is not None


def unknown_option(path: str, where: str) -> Problem:
    """There is no option at `path`; names the nearest one."""
    name = path.rpartition(".")[2]
    inside = [known for known, option in options().items() if option.section == path]
    if inside:
        return Problem(f"{path} is a section, not an option", where, f"Set {inside[0]} or another of its options.")
    elsewhere = [known for known in options() if known.rpartition(".")[2] == name]
    meant = sibling_of(path) or (elsewhere[0] if elsewhere else None)
    remedy = f"Did you mean {meant}?" if meant else None
    return Problem(f"there is no option {path}", where, remedy or nearest(path, list(options())))


def sibling_of(path: str) -> str | None:
    """The option that a misspelt one of a known section must mean, judged by its last word; None when none is near."""
    section, _, name = path.rpartition(".")
    if section in union_sections() and name in _WORDS_FOR_NAME:
        return f"{section}.name"
    names = [known.rpartition(".")[2] for known, option in options().items() if option.section == section and section]
    found = nearest_name(name, names)
    return f"{section}.{found}" if found else None


def stranger(setting: Setting, variant: str) -> Problem:
    """An option was given that the chosen variant does not have."""
    section = setting.path.partition(".")[0]
    owners = options()[setting.path].variants
    return Problem(
        f"{setting.path} belongs to {' and '.join(owners)}, and {section}.name is {variant}",
        str(setting.origin),
        f"Leave it out, or choose {section}.name = {owners[0]}.",
    )


def with_origins(problems: Sequence[Problem], origins: Mapping[str, Origin]) -> tuple[Problem, ...]:
    """Problems whose place is an option, with who said its value: `data.instance_images, wolf.toml:3`."""
    return tuple(_placed(problem, origins) for problem in problems)


def _placed(problem: Problem, origins: Mapping[str, Origin]) -> Problem:
    origin = origins.get(problem.where or "")
    if origin is None or origin.kind == "default":
        return problem
    return Problem(problem.what, f"{problem.where}, {origin}", problem.remedy)


def _problem(detail: ErrorDetails, origins: Mapping[str, Origin]) -> Problem:
    path = _path(detail["loc"])
    if not path:
        return _rule_problem(detail, origins)
    where = origins.get(path) or next((origins[table] for table in origins if path.startswith(f"{table}.")), None)
    return Problem(f"{path} is {_shown(detail['input'])} and {_demand(detail)}", str(where) if where else None)


def _rule_problem(detail: ErrorDetails, origins: Mapping[str, Origin]) -> Problem:
    """A rule that spans sections: the places of every option its sentence names."""
    sentence = str(detail["msg"]).removeprefix("Value error, ")
    named = [path for path in origins if path in sentence or _part_of_named_section(path, sentence)]
    places = dict.fromkeys(str(origins[path]) for path in named if origins[path].kind != "default")
    return Problem(sentence, ", ".join(places) or None)


def _part_of_named_section(path: str, sentence: str) -> bool:
    return path.startswith("prior.") and "prior." in sentence


def _path(location: Sequence[int | str]) -> str:
    """The dotted path without the tags that pydantic puts in for members of unions and entries of lists."""
    parts = [str(part) for part in location if isinstance(part, str)]
    if parts and parts[0] in union_sections() and len(parts) > 2:
        del parts[1]
    return _option_at(parts) or ".".join(parts)


def _option_at(location: Sequence[int | str]) -> str | None:
    """The option that takes a number or a word, if the last part of a location tells only which of the two."""
    path = ".".join(str(part) for part in location[:-1])
    return path if path in options() and options()[path].words else None


def _demand(detail: ErrorDetails) -> str:
    context: Mapping[str, Any] = detail.get("ctx", {})
    if detail["type"] in _BOUNDS:
        key, words = _BOUNDS[detail["type"]]
        return f"must be {words} {as_text(context[key])}"
    message = str(detail["msg"]).removeprefix("Value error, ").removeprefix("Input should ")
    return message if message.startswith("must") else f"should {message}"


def _shown(value: object) -> str:
    return repr(value) if isinstance(value, str) else as_text(value)
