"""Owns what a captioner is, and how its words and the token abstraction become one caption."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, assert_never

from PIL import Image

from lorasmith.data.captions import tidy

Manner = Literal["object", "style", "character", "face"]
"""What is learnt, which says where the token abstraction stands."""


@dataclass(frozen=True)
class Seen:
    """One picture to be described: upright pixels in RGB, the name of its file without the ending, and its number."""

    pixels: Image.Image
    name: str
    number: int


class Captioner(Protocol):
    """Says what pictures show."""

    def describe(self, pictures: Sequence[Seen]) -> list[str]:
        """One text each, in their order; what a picture gets must not depend on the others."""
        ...


@dataclass(frozen=True)
class Frame:
    """What stands before and behind each text."""

    prefix: str = ""
    suffix: str = ""

    def around(self, text: str) -> str:
        """The whole caption on one line; commas and spaces of the frame go where there is no text."""
        said = tidy(text)
        return tidy(f"{self.prefix}{said}{self.suffix}") if said else tidy(f"{self.prefix} {self.suffix}").strip(" ,;:")


def frame_of(manner: Manner, token: str) -> Frame:
    """Where the token abstraction stands: first for things and people, last for a style, as in the article."""
    match manner:
        case "object" | "face":
            return Frame(prefix=f"a photo of {token}, ")
        case "character":
            return Frame(prefix=f"a {token} character, ")
        case "style":
            return Frame(suffix=f", in the style of {token}")
        case _:
            assert_never(manner)
