"""Owns what is to be said of a folder as a whole: captions of no picture, and what all pictures share."""

from collections.abc import Iterator, Mapping

from lorasmith.checking.findings import FolderFinding, Kind
from lorasmith.checking.folder import Contents, Said, said_where
from lorasmith.checking.report import Concept
from lorasmith.checking.sameness import SAME_BACKGROUND, SAME_POSE, Sameness
from lorasmith.data.wording import counted, listed

_MOST_NAMES = 200


def folder_findings(
    contents: Contents, sameness: Sameness | None, *, concept: Concept, prompt: str | None
) -> tuple[FolderFinding, ...]:
    """Everything that no single picture is to blame for."""
    return (
        *_on_captions(contents),
        *_on_words_for_all(contents.said, prompt),
        *([] if sameness is None else _on_sameness(sameness, concept)),
    )


def _on_captions(contents: Contents) -> Iterator[FolderFinding]:
    for problem in contents.metadata_trouble:
        remedy = problem.remedy or "Mend the line."
        yield FolderFinding(Kind.METADATA_TROUBLE, "look", said_where(problem), remedy)
    if contents.orphans:
        count = counted(len(contents.orphans), "caption")
        reason = f"{count} without a picture of the same name: {listed(contents.orphans)}"
        remedy = "Give each the name of its picture; a caption that belongs to no picture is not read."
        yield FolderFinding(Kind.ORPHAN_CAPTION, "look", reason, remedy, contents.orphans[:_MOST_NAMES])


def _on_words_for_all(said: Mapping[str, Said], prompt: str | None) -> Iterator[FolderFinding]:
    if prompt or any(one.caption is not None or one.trouble for one in said.values()):
        return
    reason = "no picture has a caption, and there is no prompt for all"
    remedy = "Write captions, or give data.instance_prompt, such as `a photo of TOK`."
    yield FolderFinding(Kind.NO_CAPTION, "look", reason, remedy)


def _on_sameness(sameness: Sameness, concept: Concept) -> Iterator[FolderFinding]:
    if sameness.background < SAME_BACKGROUND:
        reason = f"the pictures' four sides differ by {sameness.background:.0f} of 255 levels only"
        remedy = (
            "Add pictures with other backgrounds, or name the background in each caption, so that it is not learnt."
        )
        yield FolderFinding(Kind.SAME_BACKGROUND, "look", reason, remedy)
    if sameness.outlines > SAME_POSE:
        reason = f"from picture to picture the outlines agree by {sameness.outlines:.0%}"
        remedy = (
            "Add other compositions." if concept == "style" else "Add other poses, viewpoints and distances."
        ) + " What all share comes back in every picture."
        yield FolderFinding(Kind.SAME_POSE, "look", reason, remedy)
