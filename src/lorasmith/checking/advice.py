"""Owns what is advised for each kind of concept, and whether a folder has it; the numbers are the article's.

"LoRA training scripts of the world, unite!" trained faces on 6 to 10 pictures, a character with its style on 31 and a
style on 27, and DreamBooth (arXiv 2208.12242) its objects on 3 to 5. It asks for sharp pictures of high resolution, for
close-ups and whole bodies, for nobody else's face, for subjects that are not far away, and for backgrounds, clothes and
poses that do not repeat.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lorasmith.checking.findings import Kind
from lorasmith.checking.report import Advice, Concept, PictureReport, Standing
from lorasmith.checking.sameness import SAME_BACKGROUND, SAME_POSE, Sameness
from lorasmith.data.wording import counted

_CLOSE_UP, _WHOLE_BODY = 0.4, 0.2
"""A face's height as a share of the picture's: at least for a close-up, at most for a whole or half body."""


@dataclass(frozen=True)
class Numbers:
    """How many pictures are advised."""

    fewest: int
    enough: int
    because: str


NUMBERS: dict[Concept, Numbers] = {
    "object": Numbers(4, 10, "DreamBooth's objects have 3 to 5 pictures; a few more, if they differ, make it freer"),
    "face": Numbers(6, 10, "the article's faces have 6 to 10; fewer good ones are better than more poor ones"),
    "style": Numbers(15, 30, "the article's styles have 27 and 31"),
    "character": Numbers(10, 30, "the article's character has 31"),
}


@dataclass(frozen=True)
class Faces:
    """The largest face's height in each picture, as a share of the picture's; None where there is none."""

    heights: tuple[float | None, ...]


def advice_for(
    concept: Concept, pictures: Sequence[PictureReport], sameness: Sameness | None, faces: Faces | None
) -> tuple[Advice, ...]:
    """What is advised for this concept, each against what is there."""
    usable = [one for one in pictures if one.verdict != "leave_out"]
    return (
        _on_number(concept, usable),
        _on_quality(pictures),
        _on_captions(pictures),
        *_on_diversity(concept, sameness),
        *_on_framing(concept, pictures, faces),
    )


def _on_number(concept: Concept, usable: Sequence[PictureReport]) -> Advice:
    numbers, count = NUMBERS[concept], len(usable)
    there = f"{counted(count, 'picture')} that can be used"
    standing: Standing = "good" if count >= numbers.fewest else "look"
    return Advice("How many", f"{numbers.fewest} to {numbers.enough}: {numbers.because}", there, standing)


def _on_quality(pictures: Sequence[PictureReport]) -> Advice:
    kinds = {Kind.SMALL, Kind.BLURRED, Kind.OVEREXPOSED, Kind.UNDEREXPOSED, Kind.LOW_DETAIL}
    poor = [one for one in pictures if kinds & {finding.kind for finding in one.findings}]
    there = f"{counted(len(poor), 'picture') if poor else 'no picture'} small, blurred or badly lit"
    return Advice("Quality", "sharp, well lit, as large as they are trained at", there, "look" if poor else "good")


def _on_captions(pictures: Sequence[PictureReport]) -> Advice:
    captioned = [one for one in pictures if one.caption]
    different = len({one.caption for one in captioned})
    if not captioned:
        there = "no captions; every picture takes the prompt"
    else:
        there = f"{counted(len(captioned), 'caption')}, {different} of them different"
    advised = "a caption of its own for each picture: what captions name is not learnt as part of the concept"
    return Advice("Captions", advised, there, "good" if captioned and different > len(captioned) / 2 else "look")


def _on_diversity(concept: Concept, sameness: Sameness | None) -> Iterator[Advice]:
    background, pose = "different backgrounds and light", "different poses and viewpoints"
    if concept == "style":
        background, pose = "different subjects and colours", "different compositions"
    if sameness is None:
        yield Advice("Variety", f"{background}, {pose}", "too few pictures to say", "unknown")
        return
    is_same = sameness.background < SAME_BACKGROUND
    there = f"the sides differ by {sameness.background:.0f} of 255 levels, one picture from the other"
    yield Advice("Backgrounds", background, there, "look" if is_same else "good")
    there = f"outlines agree by {sameness.outlines:.0%}"
    yield Advice("Poses", pose, there, "look" if sameness.outlines > SAME_POSE else "good")


def _on_framing(concept: Concept, pictures: Sequence[PictureReport], faces: Faces | None) -> Iterator[Advice]:
    if concept not in ("face", "character"):
        far = [one for one in pictures if Kind.SMALL_SUBJECT in {finding.kind for finding in one.findings}]
        there = f"{counted(len(far), 'picture')} with a small subject" if far else "none is far away on a plain ground"
        yield Advice("Distance", "nothing taken from far away", there, "look" if far else "good")
        return
    advised = "close-ups, and whole bodies for other poses"
    if faces is None:
        yield Advice("Framing", advised, "not looked at: there is no face detector", "unknown")
        return
    heights = [height for height in faces.heights if height is not None]
    close, whole = sum(height >= _CLOSE_UP for height in heights), sum(height <= _WHOLE_BODY for height in heights)
    there = f"{counted(close, 'close-up')}, {whole} with much of the body"
    yield Advice("Framing", advised, there, "good" if close and whole else "look")
