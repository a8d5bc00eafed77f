"""Owns the list of things the emoji world knows: objects, drawing styles, backgrounds; refuses to draw any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class WorldObject:
    """One thing that can be drawn: its word, its category's word, its Unicode code point, whether it is held out."""

    name: str
    category: str
    codepoint: str
    held_out: bool = False


_KNOWN: Final = {
    "animal": "dog 1f436, cat 1f431, rabbit 1f430, panda 1f43c, fox 1f98a, pig 1f437, lion 1f981, monkey 1f435,"
    " frog 1f438, owl 1f989, penguin 1f427, duck 1f986, elephant 1f418, turtle 1f422, whale 1f433, fish 1f420,"
    " crab 1f980, bee 1f41d",
    "food": "apple 1f34e, banana 1f34c, strawberry 1f353, watermelon 1f349, cherries 1f352, lemon 1f34b, grapes 1f347,"
    " pineapple 1f34d, carrot 1f955, pizza 1f355, hamburger 1f354, doughnut 1f369, ice cream 1f366, fried egg 1f373",
    "vehicle": "car 1f697, bus 1f68c, airplane 2708, rocket 1f680, sailboat 26f5",
    "plant": "tree 1f333, palm tree 1f334, rose 1f339, tulip 1f337, mushroom 1f344",
    "building": "house 1f3e0, castle 1f3f0",
    "thing": "backpack 1f392, balloon 1f388, bell 1f514, crown 1f451, fire 1f525, ghost 1f47b, guitar 1f3b8,"
    " drum 1f941, key 1f511, snowman 26c4, star 2b50, moon 1f319, sun 1f31e, umbrella 2602, clock 23f0,"
    " basketball 1f3c0, heart 2764, book 1f4d5, teapot 1fad6, gift 1f381, trophy 1f3c6, hat 1f3a9, camera 1f4f7",
}
_HELD_OUT: Final = {
    "animal": "octopus 1f419, dinosaur 1f995, unicorn 1f984, parrot 1f99c, snail 1f40c, butterfly 1f98b, koala 1f428",
    "food": "cupcake 1f9c1, avocado 1f951, pretzel 1f968",
    "vehicle": "tractor 1f69c, helicopter 1f681",
    "plant": "cactus 1f335, sunflower 1f33b",
    "thing": "teddy bear 1f9f8, robot 1f916, pumpkin 1f383, violin 1f3bb",
}


def _parsed(groups: dict[str, str], *, held_out: bool) -> tuple[WorldObject, ...]:
    pairs = [(category, entry.strip().rsplit(" ", 1)) for category, text in groups.items() for entry in text.split(",")]
    return tuple(WorldObject(name, category, codepoint, held_out) for category, (name, codepoint) in pairs)


OBJECTS: Final = _parsed(_KNOWN, held_out=False)
HELD_OUT_OBJECTS: Final = _parsed(_HELD_OUT, held_out=True)
CATEGORIES: Final = tuple(_KNOWN)

STYLES: Final = ("noto", "3d", "outline")
HELD_OUT_STYLES: Final = ("pixel", "twemoji")

COLOURS: Final[dict[str, tuple[int, int, int]]] = {
    "white": (248, 248, 248),
    "black": (18, 18, 20),
    "red": (214, 40, 44),
    "yellow": (250, 214, 50),
    "green": (52, 160, 76),
    "blue": (44, 104, 216),
    "pink": (250, 160, 200),
    "purple": (124, 58, 172),
}
PLACES_OF_SCENES: Final[dict[str, str]] = {
    "grass": "on the grass",
    "beach": "on a beach",
    "night": "in the night sky",
    "sunset": "at sunset",
    "snow": "in the snow",
}
BACKGROUNDS: Final = (*COLOURS, *PLACES_OF_SCENES)

_BY_NAME: Final = {thing.name: thing for thing in (*OBJECTS, *HELD_OUT_OBJECTS)}


def find_object(name: str) -> WorldObject:
    """The object called `name`; a KeyError that names it when the world has none."""
    if name not in _BY_NAME:
        raise KeyError(f"the emoji world has no object called {name!r}")
    return _BY_NAME[name]
