"""Owns concepts, what a LoRA is to learn and the base has not seen, and their words; refuses pictures of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from typing import Final, Literal, assert_never

from ..errors import ConfigError
from .captions import prompt_of
from .catalogue import HELD_OUT_OBJECTS, OBJECTS, STYLES, find_object
from .identities import Identity, all_identities, siblings
from .scene import Scene

TOKEN_ABSTRACTION: Final = "TOK"

# A style is learnt from some objects and examined on others.
OBJECTS_TO_LEARN_STYLES: Final = tuple(thing.name for thing in OBJECTS[1::2])
OBJECTS_TO_EXAMINE_STYLES: Final = tuple(thing.name for thing in OBJECTS[::2])

Kind = Literal["object", "identity", "style"]

_PRIVATE_NAMED: Final = 5
"""How many private identities a refusal of a public one names."""


@dataclass(frozen=True, slots=True)
class PlainObject:
    """An object as its art shows it; held out from the base, as the teddy bear is, where a LoRA is to learn it."""

    thing: str


@dataclass(frozen=True, slots=True)
class DrawingStyle:
    """A drawing style; held out from the base where a LoRA is to learn it, and of those only `pixel` is shipped."""

    style: str


Subject = PlainObject | Identity | DrawingStyle


@dataclass(frozen=True, slots=True)
class Concept:
    """What a LoRA is to learn: a held-out object, an identity of a known one, or a held-out style.

    What it has to be told from (`rivals`) is described in the same way.
    """

    subject: Subject

    @property
    def kind(self) -> Kind:
        """Which of the three it is."""
        match self.subject:
            case PlainObject():
                return "object"
            case Identity():
                return "identity"
            case DrawingStyle():
                return "style"
            case _:
                assert_never(self.subject)

    @property
    def name(self) -> str:
        """What people call it; no two concepts share a name."""
        match self.subject:
            case PlainObject(thing=thing):
                return thing
            case Identity(name=name):
                return name
            case DrawingStyle(style=style):
                return f"{style} style"
            case _:
                assert_never(self.subject)

    @property
    def class_word(self) -> str:
        """What the base knows it as: a held-out object's category, an identity's object, `emoji` for a style."""
        match self.subject:
            case PlainObject(thing=thing):
                return find_object(thing).category
            case Identity(thing=thing):
                return thing
            case DrawingStyle():
                return "emoji"
            case _:
                assert_never(self.subject)

    def shown_in(self, scene: Scene) -> Scene:
        """The scene with the concept in it, in place of its object or of its style."""
        match self.subject:
            case PlainObject(thing=thing):
                return replace(scene, thing=thing, identity=None)
            case Identity(thing=thing) as identity:
                return replace(scene, thing=thing, identity=identity)
            case DrawingStyle(style=style):
                return replace(scene, style=style)
            case _:
                assert_never(self.subject)

    def prompt(self, scene: Scene, *, token: str = TOKEN_ABSTRACTION) -> str:
        """The whole scene, the concept said as the token: `a TOK emoji in 3d style …`, `… in TOK style …`."""
        if isinstance(self.subject, DrawingStyle):
            return prompt_of(replace(scene, style=token))
        return prompt_of(scene, noun=f"{token} emoji")

    def class_prompt(self, scene: Scene) -> str:
        """The same scene without the token: the class word in its place, the style left unsaid for a style."""
        if isinstance(self.subject, DrawingStyle):
            return prompt_of(replace(scene, style=""))
        return prompt_of(scene, noun=f"{self.class_word} emoji")

    def bare_prompt(self, *, token: str = TOKEN_ABSTRACTION) -> str:
        """The token with the class word and no other factor: `a TOK animal emoji`, `an emoji in TOK style`."""
        if isinstance(self.subject, DrawingStyle):
            return f"an emoji in {token} style"
        return f"a {token} {self.class_word} emoji"


@cache
def standard_concepts() -> tuple[Concept, ...]:
    """The fixed list that experiments run over: six held-out objects, six private identities, one style."""
    return (
        *(Concept(PlainObject(thing)) for thing in _STANDARD_OBJECTS),
        *(Concept(identity) for identity in _STANDARD_IDENTITIES),
        Concept(DrawingStyle("pixel")),
    )


@cache
def all_concepts() -> tuple[Concept, ...]:
    """The standard concepts, then the rest of the held-out objects."""
    rest = (thing.name for thing in HELD_OUT_OBJECTS if thing.name not in _STANDARD_OBJECTS)
    return (*standard_concepts(), *(Concept(PlainObject(thing)) for thing in rest))


def find_concept(name: str) -> Concept:
    """The concept called `name`, dashes read as blanks: one of `all_concepts()`, or any private identity.

    A ConfigError when there is none: for a public identity, which the oracle has been trained to read and would
    flatter, with private ones of its object; else with the names of `all_concepts()`.
    """
    wanted = name.replace("-", " ")
    found = next((concept for concept in all_concepts() if concept.name == wanted), None) or _identity_called(wanted)
    if found is None:
        names = ", ".join(concept.name for concept in all_concepts())
        raise ConfigError(
            f"no concept is called {name!r}",
            remedy=f"There are: {names}; and private identities, called as those with a coat and a pattern are.",
        )
    return found


def _identity_called(name: str) -> Concept | None:
    identity = next((one for one in all_identities() if one.name == name), None)
    if identity is None:
        return None
    if not identity.is_private:
        private = [one.name for one in all_identities() if one.is_private and one.thing == identity.thing]
        raise ConfigError(
            f"{name!r} is an identity that the oracle was trained to read, so what is learnt of it cannot be judged",
            remedy=f"Take one that was kept apart: {', '.join(private[:_PRIVATE_NAMED])}.",
        )
    return Concept(identity)


def rivals(concept: Concept) -> tuple[Concept, ...]:
    """What it must be told from: every other object, the siblings and the object as it is, the known styles."""
    match concept.subject:
        case PlainObject(thing=own):
            return tuple(
                Concept(PlainObject(thing.name)) for thing in (*OBJECTS, *HELD_OUT_OBJECTS) if thing.name != own
            )
        case Identity(thing=thing) as identity:
            return (*(Concept(sibling) for sibling in siblings(identity)), Concept(PlainObject(thing)))
        case DrawingStyle(style=own):
            return tuple(Concept(DrawingStyle(style)) for style in STYLES if style != own)
        case _:
            assert_never(concept.subject)


_STANDARD_OBJECTS: Final = ("teddy bear", "octopus", "robot", "cactus", "cupcake", "helicopter")
_STANDARD_IDENTITIES: Final = (
    Identity("dog", "lime", "dots", "blue"),
    Identity("backpack", "cyan", "bands", "black"),
    Identity("car", "magenta", "checks", "yellow"),
    Identity("penguin", "indigo", "halves", "white"),
    Identity("mushroom", "orange", "stripes", "blue"),
    Identity("teapot", "brown", "stripes", "white"),
)
