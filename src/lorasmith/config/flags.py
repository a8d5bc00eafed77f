"""Owns the dotted flags: every option of the schema with its name, type, default and help; parses no command line."""

import re
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from lorasmith.config.section import OneValuePerFlag
from lorasmith.config.train import TrainConfig

Kind = Literal["switch", "integer", "number", "text", "path", "choice", "texts", "table", "section"]

HELP_WIDTH = 100
_KINDS: Mapping[object, Kind] = {bool: "switch", int: "integer", float: "number", str: "text", Path: "path"}
_PLACEHOLDERS: Mapping[Kind, str] = {
    "switch": "",
    "integer": "N",
    "number": "X",
    "text": "TEXT",
    "path": "PATH",
    "texts": "TEXT[,TEXT…]",
    "table": "NAME=N[,NAME=N…]",
    "section": "none",
}


@dataclass(frozen=True)
class Option:
    """One option of the schema; `variants` names the members of a tagged union that have it (empty: always there)."""

    path: str
    kind: Kind
    help: str
    defaults: Mapping[str, object]
    optional: bool = False
    choices: tuple[str, ...] = ()
    variants: tuple[str, ...] = field(default=())
    splits_at_commas: bool = True
    words: tuple[str, ...] = ()
    """Words that may stand in a number's place, such as `auto`."""

    @property
    def section(self) -> str:
        """The section the option is in; empty for options of the whole run."""
        return self.path.rpartition(".")[0]

    @property
    def flag(self) -> str:
        """The flag as people write it."""
        return "--" + self.path.replace("_", "-")

    @property
    def wanted(self) -> str:
        """What a value must be, in words."""
        return " or ".join((_wanted(self), *self.words, *(["none"] if self.optional else [])))

    @property
    def short_choices(self) -> tuple[str, ...]:
        """The choices with those of one group (`article/huggy-v1`, …) said once: `article/…`."""
        return tuple(dict.fromkeys(re.sub(r"/.*", "/…", choice) for choice in self.choices))

    @property
    def usage(self) -> str:
        """Flag and placeholder, such as `--adapter.rank N`."""
        placeholder = "|".join(self.short_choices if self.kind == "choice" else (_PLACEHOLDERS[self.kind], *self.words))
        return f"{self.flag} {placeholder}".rstrip()

    @property
    def default_text(self) -> str:
        """The default as people write it; one per variant where they differ."""
        texts = {variant: as_text(value) for variant, value in self.defaults.items()}
        if len(set(texts.values())) == 1:
            return next(iter(texts.values()))
        return ", ".join(f"{variant} {text}" for variant, text in texts.items())


@dataclass(frozen=True)
class SectionOptions:
    """The options of one section, under its name and its one-line description."""

    name: str
    title: str
    options: tuple[Option, ...]


def as_text(value: object) -> str:
    """A value as it is written on a command line."""
    match value:
        case None:
            return "none"
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(str(part) for part in value) or "none"  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        case dict():
            return ",".join(f"{name}={number}" for name, number in value.items()) or "none"  # pyright: ignore[reportUnknownVariableType]
        case float():
            return f"{value:g}"
        case _:
            return str(value)


@cache
def sections() -> tuple[SectionOptions, ...]:
    """All options, grouped by section in the schema's order; options of the whole run come first."""
    fields = TrainConfig.model_fields
    whole_run = tuple(
        _leaf("", name, info, variants={"": info.default}) for name, info in fields.items() if not _section_types(info)
    )
    groups = (_section(name, info) for name, info in fields.items() if _section_types(info))
    return (SectionOptions("", "The whole run", whole_run), *groups)


@cache
def options() -> Mapping[str, Option]:
    """Every option by its dotted path."""
    return {option.path: option for group in sections() for option in group.options}


@cache
def optional_sections() -> frozenset[str]:
    """Sections that are off until a field of theirs is given."""
    return frozenset(option.path for option in options().values() if option.kind == "section")


@cache
def union_sections() -> Mapping[str, tuple[str, ...]]:
    """Sections with several variants, each with its variants' names."""
    return {path.rpartition(".")[0]: option.choices for path, option in options().items() if _names_the_variant(option)}


@cache
def default_values() -> Mapping[str, object]:
    """The defaults of all options that are on by default, in the default variants."""
    return dict(flatten(TrainConfig()))


def variant_defaults(section: str, variant: str) -> Mapping[str, object]:
    """The defaults of one variant of a tagged-union section, by dotted path."""
    members = _section_types(TrainConfig.model_fields[section])
    (member,) = (member for member in members if _variant_name(member) == variant)
    return {f"{section}.{name}": info.get_default() for name, info in member.model_fields.items()}


def flatten(config: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    """(dotted path, value) of every leaf; a section that is off is one leaf with None."""
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def flag_help(width: int = HELP_WIDTH) -> str:
    """The help text of all options, grouped by section."""
    return "\n\n".join(_section_help(group, width) for group in sections())


def _section_help(group: SectionOptions, width: int) -> str:
    heading = f"{group.name}: {group.title}" if group.name else group.title
    return "\n".join((heading, *(_option_help(option, width) for option in group.options)))


def _option_help(option: Option, width: int) -> str:
    only = f" Only {' and '.join(option.variants)}." if option.variants else ""
    text = f"{option.help}{only} [{option.default_text}]"
    indent = " " * 6
    return f"  {option.usage}\n" + textwrap.fill(text, width, initial_indent=indent, subsequent_indent=indent)


def _section(name: str, info: FieldInfo) -> SectionOptions:
    members = _section_types(info)
    title = info.description or ""
    switch = (Option(name, "section", title, {"": None}, optional=True),) if _is_optional(info.annotation) else ()
    leaves = tuple(_merged_leaf(name, leaf, members) for leaf in _leaf_names(members))
    return SectionOptions(name, title, (*switch, *leaves))


def _leaf_names(members: tuple[type[BaseModel], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for member in members for name in member.model_fields))


def _merged_leaf(section: str, name: str, members: tuple[type[BaseModel], ...]) -> Option:
    having = [member for member in members if name in member.model_fields]
    if len(members) == 1:
        return _leaf(section, name, having[0].model_fields[name], variants={"": having[0].model_fields[name].default})
    defaults = {_variant_name(member): member.model_fields[name].get_default() for member in having}
    if name == "name":
        return _variant_option(section, members)
    return _leaf(
        section, name, having[0].model_fields[name], variants=defaults, all_have_it=len(having) == len(members)
    )


def _variant_option(section: str, members: tuple[type[BaseModel], ...]) -> Option:
    names = tuple(_variant_name(member) for member in members)
    current = getattr(TrainConfig(), section).name
    help_text = members[0].model_fields["name"].description or ""
    return Option(f"{section}.name", "choice", help_text, {"": current}, choices=names)


def _leaf(
    section: str, name: str, info: FieldInfo, *, variants: Mapping[str, object], all_have_it: bool = True
) -> Option:
    inner = _without_none(info.annotation)
    return Option(
        path=f"{section}.{name}" if section else name,
        kind=_kind(inner),
        help=" ".join((info.description or "").split()),
        defaults=variants,
        optional=_is_optional(info.annotation),
        choices=get_args(inner) if get_origin(inner) is Literal else (),
        variants=() if all_have_it else tuple(variants),
        splits_at_commas=not any(isinstance(mark, OneValuePerFlag) for mark in info.metadata),
        words=_words_beside(info.annotation),
    )


def _kind(inner: Any) -> Kind:
    if get_origin(inner) is Literal:
        return "choice"
    if get_origin(inner) is tuple:
        return "texts"
    if get_origin(inner) is dict:
        return "table"
    return _KINDS[inner]


def _wanted(option: Option) -> str:
    match option.kind:
        case "switch" | "section":
            return "true or false"
        case "integer":
            return "a whole number"
        case "number":
            return "a number"
        case "text":
            return "a text"
        case "path":
            return "a path"
        case "texts":
            return "a text or a list of texts"
        case "table":
            return "names with whole numbers, such as mid_block=32"
        case "choice":
            return "one of " + ", ".join(option.short_choices)


def _section_types(info: FieldInfo) -> tuple[type[BaseModel], ...]:
    parts = get_args(info.annotation) if _is_union(info.annotation) else (info.annotation,)
    return tuple(part for part in parts if isinstance(part, type) and issubclass(part, BaseModel))


def _variant_name(member: type[BaseModel]) -> str:
    return str(member.model_fields["name"].default)


def _names_the_variant(option: Option) -> bool:
    return option.path.endswith(".name") and len(option.choices) > 1 and option.path.count(".") == 1


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (Union, UnionType)


def _is_optional(annotation: Any) -> bool:
    return _is_union(annotation) and NoneType in get_args(annotation)


def _without_none(annotation: Any) -> Any:
    """What a value is; of a number or a word in its place, the number."""
    if _is_union(annotation):
        parts = [part for part in get_args(annotation) if part is not NoneType]
        annotation = next(part for part in parts if len(parts) == 1 or get_origin(part) is not Literal)
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _words_beside(annotation: Any) -> tuple[str, ...]:
    """The words that may stand in a number's place."""
    parts = [part for part in get_args(annotation) if part is not NoneType] if _is_union(annotation) else []
    return tuple(word for part in parts if len(parts) > 1 and get_origin(part) is Literal for word in get_args(part))
