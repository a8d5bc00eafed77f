"""Owns what an experiment asks, read from its TOML file and checked whole; refuses to train or to count."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError, model_validator

from lorasmith.config.flags import as_text
from lorasmith.config.load import load_config
from lorasmith.config.section import Section
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, LorasmithError, Problem
from lorasmith.runs.trials import SetUp, Trial
from lorasmith.world import Concept, Regime, Wording, find_concept, standard_concepts
from lorasmith.world.captions import with_article

OptionValue = bool | int | float | str | list[str]
_CLASS_IMAGES: Final = 16
_SHIPPED: Final = Path(__file__).parent / "shipped_experiments"


class Arm(Section):
    """One way of training; everything that is not said is as in the other arms."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    """What the tables call it."""

    reference: bool = False
    """Whether the other arms are compared with it."""

    options: dict[str, OptionValue] = Field(default=dict[str, OptionValue]())
    """Dotted options, such as `adapter.rank`, laid over the experiment's; `{class_word}` and `{class_prompt}` stand
    for the concept's."""

    seeds_from: Annotated[int, Field(ge=0)] = 0
    """Added to the seed of the training alone: pictures and evaluation keep theirs."""

    pictures: Annotated[int, Field(ge=1)] | None = None
    """Instance images; None means the experiment's number."""

    regime: Regime = "diverse"
    """What the instance images share."""

    wording: Wording = "full"
    """What the captions say."""

    class_images: Literal["none", "drawn", "true"] = "none"
    """Prior preservation with class images: drawn by the base, or true renders."""

    pooling: Literal["end_of_text", "highest_id"] = "end_of_text"
    """Where the training pools its prompts; pictures are always drawn with the end of text, as programs do."""

    trained: bool = True
    """False: the base as it is, the class word in the token's place."""

    checkpoints: tuple[Annotated[int, Field(ge=1)], ...] = ()
    """Steps after which it is evaluated as well; the last step always is."""

    examined_twice: bool = False
    """Whether its prompts, and nothing else, are drawn with two noises: one to choose by, the other to judge by."""


class Experiment(Section):
    """A question, and the arms, concepts and seeds that answer it."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,59}$")]
    """The file's and the tables' name for it."""

    question: Annotated[str, Field(min_length=1)]
    """What one wants to know."""

    concepts: tuple[str, ...] | Literal["standard"] = "standard"
    """Names as `lorasmith world concepts` lists them, or of private identities; `standard` is the fixed list of 13."""

    seeds: tuple[Annotated[int, Field(ge=0)], ...] = (0, 1, 2)
    """One trial for each arm, concept and seed."""

    primary: str = "joint"
    """The score that decides."""

    pictures: Annotated[int, Field(ge=1)] = 5
    """Instance images of each concept."""

    options: dict[str, OptionValue] = Field(default=dict[str, OptionValue]())
    """Dotted options for all arms."""

    arms: Annotated[tuple[Arm, ...], Field(min_length=1)]
    """What is compared."""

    @model_validator(mode="after")
    def one_arm_is_the_reference(self) -> Self:
        """Differences need something to differ from; names must tell the arms apart."""
        names = [arm.name for arm in self.arms]
        if len(set(names)) < len(names):
            raise ValueError(f"two arms share a name: {', '.join(names)}")
        if sum(arm.reference for arm in self.arms) != 1:
            raise ValueError("exactly one arm must say `reference = true`")
        return self

    @property
    def reference(self) -> str:
        """The name of the arm the others are compared with."""
        return next(arm.name for arm in self.arms if arm.reference)

    def chosen_concepts(self) -> tuple[Concept, ...]:
        """Its concepts; a ConfigError for one that there is none of."""
        if self.concepts == "standard":
            return standard_concepts()
        return tuple(find_concept(name) for name in self.concepts)


def shipped_experiments() -> dict[str, Path]:
    """The experiments that ship with lorasmith, by name."""
    return {path.stem: path for path in sorted(_SHIPPED.glob("*.toml"), key=lambda path: path.stem)}


def find_experiment(named: str) -> Path:
    """A file, or the shipped experiment of that name. ConfigError, with the names there are, when it is neither."""
    path, shipped = Path(named).expanduser(), shipped_experiments()
    if path.suffix == ".toml" or path.is_file():
        return path
    if named not in shipped:
        raise ConfigError(
            f"there is no experiment {named!r}",
            remedy=f"Name a .toml file, or one of {', '.join(shipped)}.",
        )
    return shipped[named]


def read_experiment(path: Path) -> Experiment:
    """The experiment in a TOML file. ConfigError with everything that is wrong with it, its options included."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        experiment = Experiment.model_validate(content)
    except OSError as unreadable:
        raise ConfigError(f"the experiment {path} cannot be read: {unreadable.strerror}", where=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as broken:
        raise ConfigError(f"the experiment is not TOML: {broken}", where=str(path)) from broken
    except ValidationError as invalid:
        raise ConfigError.of([_problem(detail["loc"], detail["msg"], path) for detail in invalid.errors()]) from None
    trials_of(experiment)
    return experiment


def trials_of(experiment: Experiment) -> list[tuple[str, Trial]]:
    """Every trial with its arm's name: all arms of a concept together, seed by seed, so that a stop leaves pairs."""
    return [
        (arm.name, _trial(experiment, arm, concept, seed))
        for seed in experiment.seeds
        for concept in experiment.chosen_concepts()
        for arm in experiment.arms
    ]


def class_prompt(concept: Concept) -> str:
    """What the base is asked for the concept's class: `a dog emoji`, `an emoji` for a style."""
    return with_article("emoji" if concept.kind == "style" else f"{concept.class_word} emoji")


def _trial(experiment: Experiment, arm: Arm, concept: Concept, seed: int) -> Trial:
    return Trial(
        concept=concept,
        seed=seed,
        config=_config(experiment, arm, concept, seed),
        set_up=SetUp(
            pictures=arm.pictures or experiment.pictures,
            regime=arm.regime,
            wording=arm.wording,
            class_images=arm.class_images,
            pooling=arm.pooling,
            trained=arm.trained,
            checkpoints=tuple(sorted(set(arm.checkpoints))),
            examined_twice=arm.examined_twice,
        ),
    )


def _config(experiment: Experiment, arm: Arm, concept: Concept, seed: int) -> TrainConfig:
    """The arm's config; the folders are filled in where it is trained."""
    options = {"checkpoint.every": 0, "runtime.seed": seed + arm.seeds_from}
    if arm.class_images != "none":
        options |= {"prior.class_prompt": class_prompt(concept), "prior.num_class_images": _CLASS_IMAGES}
    said: dict[str, OptionValue] = {**options, **experiment.options, **arm.options}
    flags = [f"--{path.replace('_', '-')}={_text(value, concept)}" for path, value in said.items()]
    try:
        return load_config((), flags).config
    except LorasmithError as error:
        where = f"arm {arm.name!r} of {experiment.name}"
        raise ConfigError.of([Problem(one.what, where, one.remedy) for one in error.problems]) from error


def _text(value: OptionValue, concept: Concept) -> str:
    text = as_text(tuple(value) if isinstance(value, list) else value)
    return text.replace("{class_word}", concept.class_word).replace("{class_prompt}", class_prompt(concept))


def _problem(place: tuple[int | str, ...], message: str, path: Path) -> Problem:
    spelled = ".".join(str(part) for part in place)
    return Problem(f"{spelled}: {message}" if spelled else message, str(path))
