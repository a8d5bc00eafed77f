"""Owns how a config comes about: default < recipe < files < flags, with every value's origin; opens no picture.

::

    loaded = load_config([Path("wolf.toml")], ["--adapter.rank", "32"])
    loaded.config.adapter.rank            # 32
    str(loaded.origins["adapter.rank"])   # "--adapter.rank"

The reference script's flags are understood as well (`reference_flags`); its defaults lie between ours and the recipe's.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from pydantic import SecretStr, ValidationError

from lorasmith.config import reference
from lorasmith.config.arguments import COMMAND_LINE, Arguments, Flag, split_arguments
from lorasmith.config.explain import details_of, explain, stranger, unknown_option
from lorasmith.config.flags import Option, as_text, options
from lorasmith.config.layers import Layers
from lorasmith.config.origin import Origin, Setting
from lorasmith.config.recipes import recipe_file
from lorasmith.config.reference import Reading
from lorasmith.config.toml_lines import TABLE, TomlLeaf, read_toml
from lorasmith.config.train import TrainConfig
from lorasmith.config.values import UnreadableValueError, from_texts, from_toml, nearest
from lorasmith.errors import ConfigError, LorasmithError, Problem


@dataclass(frozen=True)
class Loaded:
    """A config, where each of its values came from (by dotted path), and what the user should be told.

    A login that was on the command line stands beside the config, so that it is never written down with it.
    """

    config: TrainConfig
    origins: Mapping[str, Origin]
    notices: tuple[str, ...] = ()
    hub_token: SecretStr | None = None
    resume_from: str | None = None
    """The checkpoint that the script's `--resume_from_checkpoint` names, or `latest`."""


def load_config(files: Sequence[Path], overrides: Sequence[str] = (), *, recipe: str | None = None) -> Loaded:
    """The config that `files` (left to right) and `overrides` (flags) say, on top of a recipe and the defaults.

    Raises ConfigError with all problems at once.
    """
    arguments = split_arguments(overrides)
    words = tuple(
        Problem(f"{word!r} is not an option", COMMAND_LINE, "Options start with --.") for word in arguments.words
    )
    return _load(tuple(files), arguments, recipe=recipe, problems=words)


def load_arguments(arguments: Sequence[str], *, also_known: Sequence[str] = ()) -> Loaded:
    """The config that a command line of files and flags says. Raises ConfigError with all problems at once.

    `also_known` are flags the caller takes itself, to be named where a misspelled one is near.
    """
    taken_apart = split_arguments(arguments, also_known=also_known)
    return _load(tuple(Path(word) for word in taken_apart.words), taken_apart, recipe=None, problems=())


def _load(files: Sequence[Path], arguments: Arguments, *, recipe: str | None, problems: Sequence[Problem]) -> Loaded:
    uses = reference.uses_of(arguments.flags)
    in_manner = reference.is_in_the_scripts_manner(uses)
    flags = _read_dotted(arguments.flags) + reference.read_plain(uses)
    said = [*(_read_file(file) for file in files), _asked_for(recipe), flags]
    from_recipe = _read_recipe(_chosen_recipe(said))

    layers = Layers()
    layers.lay(reference.manner_defaults() if in_manner else ())
    for reading in (from_recipe, *said):
        layers.lay(reading.settings)
    conditional = reference.read_conditional(uses, layers)
    layers.lay(conditional.settings)
    layers.fill(reference.late_manner_defaults(layers) if in_manner else ())
    layers.lay(reference.scaled_rate(uses, layers))

    everything = sum((from_recipe, *said, conditional), Reading())
    loaded = _validated(
        layers,
        notices=(*everything.notices, *reference.token_notice(layers)),
        problems=(
            *problems,
            *arguments.problems,
            *everything.problems,
            *_conflicts((flags + conditional).settings),
        ),
    )
    return replace(loaded, hub_token=reference.secret_of(uses), resume_from=reference.checkpoint_of(uses))


def _chosen_recipe(said: Sequence[Reading]) -> Setting | None:
    """The last recipe that files, the caller or flags name; `none` is none."""
    named = [setting for reading in said for setting in reading.settings if setting.path == "recipe"]
    return named[-1] if named and named[-1].value is not None else None


def _validated(layers: Layers, *, notices: tuple[str, ...], problems: Sequence[Problem]) -> Loaded:
    """The config of the layers, or one report of everything that is wrong."""
    found = [
        *problems,
        *(stranger(setting, layers.variant(setting.path.partition(".")[0])) for setting in layers.strangers()),
    ]
    origins = layers.origins()
    try:
        config = TrainConfig.model_validate(layers.nested())
    except ValidationError as error:
        # Rules that span sections are judged only once every value by itself is understood.
        found += [problem for problem, spans in _explained(error, origins) if not (spans and found)]
    else:
        if not found:
            return Loaded(config, origins, tuple(dict.fromkeys(notices)))
    raise ConfigError.of(found)


def _explained(error: ValidationError, origins: Mapping[str, Origin]) -> Iterator[tuple[Problem, bool]]:
    return zip(explain(error, origins), (not detail["loc"] for detail in details_of(error)), strict=True)


def _read_file(file: Path) -> Reading:
    try:
        leaves = read_toml(file)
    except LorasmithError as error:
        return Reading(problems=error.problems)
    return sum((_read_leaf(leaf, Origin("file", f"{file}:{leaf.line}")) for leaf in _with_tables(leaves)), Reading())


def _with_tables(leaves: Sequence[TomlLeaf]) -> Iterator[TomlLeaf]:
    """The leaves, those below an option that is a table gathered into one where the first of them was said."""
    tables = [option.path for option in options().values() if option.kind == "table"]
    gathered: dict[str, TomlLeaf] = {}
    for leaf in leaves:
        path = next((path for path in tables if leaf.within(path) is not None), None)
        if path is None and leaf.path in tables and leaf.value is TABLE:
            path = leaf.path
        if path is None:
            yield leaf
            continue
        first = gathered.setdefault(path, TomlLeaf(path, dict[str, object](), leaf.line))
        name = leaf.within(path)
        if name is not None and leaf.value is not TABLE:
            cast("dict[str, object]", first.value)[name] = leaf.value
    yield from gathered.values()


def _read_recipe(chosen: Setting | None) -> Reading:
    if chosen is None:
        return Reading()
    name = str(chosen.value)
    origin = Origin("recipe", f"recipe {name}")
    leaves = _with_tables(read_toml(recipe_file(name)))
    return sum((_read_leaf(leaf, origin) for leaf in leaves), Reading((Setting("recipe", name, chosen.origin),)))


def _read_leaf(leaf: TomlLeaf, origin: Origin) -> Reading:
    option = options().get(leaf.path)
    if leaf.value is TABLE:
        return _read_table(leaf.path, option, origin)
    if option is None:
        return Reading(problems=(unknown_option(leaf.path, str(origin)),))
    try:
        return Reading((Setting(leaf.path, from_toml(option, leaf.value), origin),))
    except UnreadableValueError as error:
        return Reading(problems=(Problem(str(error), str(origin), error.hint),))


def _read_table(path: str, option: Option | None, origin: Origin) -> Reading:
    if option is not None and option.kind == "section":
        return Reading((Setting(path, True, origin),))
    if any(known.section == path for known in options().values()):
        return Reading()
    if option is not None:
        return Reading(problems=(Problem(f"{path} is a table and must be {option.wanted}", str(origin)),))
    return Reading(problems=(_unknown_section(path, str(origin)),))


def _unknown_section(path: str, where: str) -> Problem:
    known = list(dict.fromkeys(option.section for option in options().values() if option.section))
    return Problem(f"there is no section {path}", where, nearest(path, known) or f"Sections: {', '.join(known)}.")


def _read_dotted(flags: Sequence[Flag]) -> Reading:
    """The dotted flags; repeated ones are added up for lists."""
    said: defaultdict[tuple[str, str], list[Flag]] = defaultdict(list)
    for number, flag in enumerate(flags):
        if isinstance(flag.target, Option):
            apart = "" if flag.target.kind in ("texts", "table") else f"{number}"
            said[flag.target.path, apart].append(flag)
    return sum((_read_option(same) for same in said.values()), Reading())


def _read_option(flags: Sequence[Flag]) -> Reading:
    option, spelled = flags[0].target, flags[0].spelled
    assert isinstance(option, Option)
    try:
        value = from_texts(option, [flag.text for flag in flags])
    except UnreadableValueError as error:
        return Reading(problems=(Problem(str(error), spelled, error.hint),))
    return Reading((Setting(option.path, value, Origin("flag", spelled)),))


def _asked_for(recipe: str | None) -> Reading:
    """The recipe a caller named, as if it had been a flag."""
    if recipe is None:
        return Reading()
    origin = Origin("recipe", f"recipe {recipe}")
    try:
        return Reading((Setting("recipe", from_texts(options()["recipe"], [recipe]), origin),))
    except UnreadableValueError as error:
        return Reading(problems=(Problem(str(error), str(origin), error.hint),))


def _conflicts(settings: Sequence[Setting]) -> Iterator[Problem]:
    """The same option said twice differently, and values for a section that is switched off."""
    first: dict[str, Setting] = {}
    for setting in settings:
        other = first.setdefault(setting.path, setting)
        if other.value != setting.value:
            yield _conflict(other, setting)
    for section in [setting for setting in settings if setting.value is False and "." not in setting.path]:
        yield from (_conflict(section, inner) for inner in settings if inner.path.startswith(f"{section.path}."))


def _conflict(one: Setting, other: Setting) -> Problem:
    said = [f"{setting.origin} says {as_text(setting.value)}" for setting in (one, other)]
    return Problem(f"the same thing is said twice differently: {said[0]} and {said[1]}", COMMAND_LINE, "Keep one.")
