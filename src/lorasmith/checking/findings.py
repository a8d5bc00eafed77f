"""Owns what a check can find and what that means for a picture; measures nothing."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

Weight = Literal["note", "look", "leave_out"]
"""How much a finding matters: worth knowing, worth a look, or reason enough to leave the picture out."""

Verdict = Literal["keep", "look", "leave_out"]


class Kind(StrEnum):
    """What can be found, of a picture, of its caption, or of the whole folder."""

    UNREADABLE = "unreadable"
    UNUSABLE_NAME = "unusable_name"
    THIN = "thin"
    WRONG_EXTENSION = "wrong_extension"
    ANIMATED = "animated"
    TRANSPARENT = "transparent"
    TURNED = "turned"
    COLOUR_PROFILE = "colour_profile"
    LOCATION = "location"

    SMALL = "small"
    BLURRED = "blurred"
    OVEREXPOSED = "overexposed"
    UNDEREXPOSED = "underexposed"
    LOW_DETAIL = "low_detail"
    SMALL_SUBJECT = "small_subject"
    CUT_OFF = "cut_off"
    COPY = "copy"
    NEAR_DUPLICATE = "near_duplicate"
    NO_FACE = "no_face"
    SEVERAL_FACES = "several_faces"

    NO_CAPTION = "no_caption"
    EMPTY_CAPTION = "empty_caption"
    SAME_CAPTION = "same_caption"
    CAPTION_TROUBLE = "caption_trouble"
    NO_TOKEN = "no_token"
    TOKEN_INSIDE_WORD = "token_inside_word"
    TOKEN_IN_OTHER_CASE = "token_in_other_case"
    LONG_CAPTION = "long_caption"

    ORPHAN_CAPTION = "orphan_caption"
    METADATA_TROUBLE = "metadata_trouble"
    SAME_BACKGROUND = "same_background"
    SAME_POSE = "same_pose"
    NO_PICTURES = "no_pictures"


TITLES: dict[Kind, str] = {
    Kind.UNREADABLE: "cannot be read",
    Kind.UNUSABLE_NAME: "name is not UTF-8",
    Kind.THIN: "too long and thin",
    Kind.WRONG_EXTENSION: "wrong extension",
    Kind.ANIMATED: "animated",
    Kind.TRANSPARENT: "transparent",
    Kind.TURNED: "turned by its camera's note",
    Kind.COLOUR_PROFILE: "another colour space",
    Kind.LOCATION: "says where it was taken",
    Kind.SMALL: "too small",
    Kind.BLURRED: "blurred",
    Kind.OVEREXPOSED: "over-exposed",
    Kind.UNDEREXPOSED: "under-exposed",
    Kind.LOW_DETAIL: "nothing to see",
    Kind.SMALL_SUBJECT: "subject too small",
    Kind.CUT_OFF: "cut off by the crop",
    Kind.COPY: "the same file twice",
    Kind.NEAR_DUPLICATE: "near duplicate",
    Kind.NO_FACE: "no face found",
    Kind.SEVERAL_FACES: "several faces",
    Kind.NO_CAPTION: "no caption",
    Kind.EMPTY_CAPTION: "empty caption",
    Kind.SAME_CAPTION: "same caption as others",
    Kind.CAPTION_TROUBLE: "caption cannot be used",
    Kind.NO_TOKEN: "token abstraction missing",
    Kind.TOKEN_INSIDE_WORD: "token abstraction inside another word",
    Kind.TOKEN_IN_OTHER_CASE: "token abstraction in another case",
    Kind.LONG_CAPTION: "caption too long",
    Kind.ORPHAN_CAPTION: "captions without a picture",
    Kind.METADATA_TROUBLE: "metadata file",
    Kind.SAME_BACKGROUND: "the same background all through",
    Kind.SAME_POSE: "the same pose all through",
    Kind.NO_PICTURES: "no pictures",
}


@dataclass(frozen=True)
class Finding:
    """One thing found of a picture: why it was found (with its numbers), and what to do."""

    kind: Kind
    weight: Weight
    reason: str
    remedy: str
    others: tuple[str, ...] = ()
    """Ids of the other pictures it is about, such as those that look the same."""


@dataclass(frozen=True)
class FolderFinding:
    """One thing found of the folder as a whole; `names` are ids of pictures or names of files, as they are."""

    kind: Kind
    weight: Weight
    reason: str
    remedy: str
    names: tuple[str, ...] = ()


def verdict_of(findings: Iterable[Finding]) -> Verdict:
    """The gravest finding decides; notes alone leave a picture in."""
    weights = {finding.weight for finding in findings}
    if "leave_out" in weights:
        return "leave_out"
    return "look" if "look" in weights else "keep"
