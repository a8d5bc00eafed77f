"""Owns what a concept of the emoji world is asked for, with the truth of each prompt; refuses to draw or to read."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from lorasmith.evaluation.examination import Asked, Examination
from lorasmith.evaluation.factors import Factor
from lorasmith.world import OBJECTS, STYLES, Concept, DrawingStyle, PlainObject, Scene, evaluation_prompts, find_object
from lorasmith.world.captions import with_article

_UNRELATED: Final = 10
_UNSAID: Final[dict[Factor, str]] = {"size": "normal", "place": "middle", "tilt": "upright"}
_ANY_CONCEPT: Final = Concept(PlainObject("teddy bear"))
"""Lends its scenes where nobody knows the concept; the prompts say the token alone, so nothing of it shows."""


@dataclass(frozen=True)
class WorldSubject:
    """Who is examined: the concept where it is known, its token, and the class word."""

    concept: Concept | None
    token: str
    class_word: str

    @property
    def own_factor(self) -> Factor:
        """The factor that is the concept's own: the style of a style, the object of all else."""
        is_style = self.concept is not None and isinstance(self.concept.subject, DrawingStyle)
        return "style" if is_style else "thing"

    @property
    def other_factors(self) -> tuple[Factor, ...]:
        """The factors of a scene that are not the concept's own."""
        scene_factors: tuple[Factor, ...] = ("thing", "style", "background", "size", "place", "tilt")
        return tuple(factor for factor in scene_factors if factor != self.own_factor)

    @property
    def styles(self) -> tuple[str, ...]:
        """The drawing styles that a picture can be of: those the base knows, and the one that is learnt."""
        match self.concept:
            case Concept(subject=DrawingStyle(style=style)):
                return tuple(dict.fromkeys((*STYLES, style)))
            case _:
                return STYLES

    @property
    def name(self) -> str | None:
        """The concept's name."""
        return None if self.concept is None else self.concept.name


def world_examination(subject: WorldSubject, *, captions: Sequence[str] = ()) -> Examination:
    """The concept's 25 prompts, the bare token, the class word, and objects that have nothing to do with it."""
    concept = subject.concept or _ANY_CONCEPT
    prompts = [
        Asked(
            _worded(subject, concept, prompt.scene),
            concept.class_prompt(prompt.scene) if subject.concept else _class_prompt(subject, prompt.scene),
            prompt.scene,
            prompted_factors(subject, prompt.scene),
        )
        for prompt in evaluation_prompts(concept, token=subject.token)
    ]
    return Examination(prompts, _bare(subject), _unrelated(subject), captions)


def prompted_factors(subject: WorldSubject, scene: Scene) -> dict[str, str]:
    """What the words of a scene's prompt say: not the concept's own factor, and not what goes without saying."""
    return {
        factor: value
        for factor in subject.other_factors
        if (value := str(getattr(scene, factor))) != _UNSAID.get(factor)
    }


def _worded(subject: WorldSubject, concept: Concept, scene: Scene) -> str:
    return concept.prompt(scene, token=subject.token)


def _class_prompt(subject: WorldSubject, scene: Scene) -> str:
    return _ANY_CONCEPT.prompt(scene, token=subject.class_word).replace("emoji emoji", "emoji")


def _bare(subject: WorldSubject) -> Asked:
    if subject.concept is None:
        noun = "emoji" if subject.class_word == "emoji" else f"{subject.class_word} emoji"
        return Asked(with_article(f"{subject.token} {noun}"), with_article(noun))
    if subject.own_factor == "style":
        return Asked(subject.concept.bare_prompt(token=subject.token), "an emoji")
    return Asked(subject.concept.bare_prompt(token=subject.token), with_article(f"{subject.class_word} emoji"))


def _unrelated(subject: WorldSubject) -> list[Asked]:
    """Known objects of other categories, evenly from the catalogue; a style has nothing to do with any of them."""
    avoided = _categories(subject)
    things = [thing for thing in OBJECTS if thing.category not in avoided]
    chosen = [things[number * len(things) // _UNRELATED] for number in range(_UNRELATED)]
    texts = [(with_article(f"{thing.name} emoji"), thing.name) for thing in chosen]
    return [Asked(text, text, factors={"thing": name}) for text, name in texts]


def _categories(subject: WorldSubject) -> set[str]:
    if subject.concept is None:
        return {subject.class_word}
    match subject.concept.subject:
        case DrawingStyle():
            return set()
        case other:
            return {find_object(other.thing).category}


def twin_scenes(scenes: Sequence[Scene], *, number: int) -> list[Scene]:
    """The same scenes with other small variations: what a concept that was learnt and not copied might draw."""
    return [replace(scene, jitter=7919 * (number + 1) + place) for place, scene in enumerate(scenes)]
