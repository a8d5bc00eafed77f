"""Owns what one example is: a picture with its caption, found once and never taken apart again."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal

from lorasmith.data.wildcards import Wording
from lorasmith.sizes import Corner, Size, SizeConditioning


class Role(StrEnum):
    """What a picture is for."""

    INSTANCE = "instance"
    CLASS = "class"


@dataclass(frozen=True)
class Mask:
    """What of a picture counts: a grey picture in `path`, or the picture's own alpha channel.

    `content` is the hash of all that decides it, `centre` its centre of mass, as shares of the upright picture's height
    and width.
    """

    path: Path
    kind: Literal["file", "alpha"]
    content: str
    centre: tuple[float, float]


@dataclass(frozen=True)
class Example:
    """A readable picture and its caption. `id` is its path inside its folder, `content` the hash of its bytes.

    `caption` can be shown as it stands; `wordings` are all the captions the picture has, with their choices, where they
    are more than that one.
    """

    id: str
    path: Path
    caption: str
    role: Role
    size: Size
    """Upright size (EXIF orientation applied), in pixels."""
    content: str
    wordings: tuple[Wording, ...] = ()
    lines: tuple[str, ...] = ()
    """The lines of a caption file that has several, which `caption` has joined."""
    mask: Mask | None = None
    """None: the whole picture counts."""


@dataclass(frozen=True)
class BrokenPicture:
    """A file that should be a picture and cannot be read, and why."""

    path: Path
    reason: str


@dataclass(frozen=True)
class View:
    """How one example is cut in one epoch: resize to `resized`, mirror if `flip`, cut `target` at `crop_top_left`."""

    original: Size
    resized: Size
    crop_top_left: Corner
    target: Size
    flip: bool

    @property
    def is_enlarged(self) -> bool:
        """Whether the picture is smaller than what is cut from it, so that its pixels are made up in part."""
        return self.resized.height > self.original.height or self.resized.width > self.original.width

    @property
    def size_conditioning(self) -> SizeConditioning:
        """What SDXL is told of this view."""
        return SizeConditioning(self.original, self.crop_top_left, self.target)


@dataclass(frozen=True)
class Draw:
    """One example as it is seen at one place in the run: which epoch, which copy of `repeats`, which view."""

    example: Example
    epoch: int
    copy: int
    view: View
