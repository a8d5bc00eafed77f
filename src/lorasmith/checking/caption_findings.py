"""Owns what is wrong with what is said of pictures; a caption that is never read teaches nothing."""

import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from lorasmith.checking.findings import Finding, Kind
from lorasmith.checking.folder import Said, said_where
from lorasmith.data.wording import counted, listed, shown
from lorasmith.models.long_prompts import LongPrompt

_SHOWN_UNREAD = 200


@dataclass(frozen=True)
class CaptionWants:
    """What captions are held to."""

    prompt: str | None
    """What a picture without a caption takes."""
    abstractions: tuple[str, ...]
    """Words of which each caption needs one; empty when no new tokens are learnt."""
    unread_of: Callable[[str], LongPrompt | None]
    """What of a caption is not read at once, if anything."""
    reads_in_chunks: bool
    """Whether what is not read at once is read in chunks."""


def caption_findings(said: Mapping[str, Said], wants: CaptionWants) -> dict[str, list[Finding]]:
    """What is wrong with each picture's caption, by id; captions that are the same are found among all."""
    some = any(one.caption is not None for one in said.values())
    found = {id: _of_one(one, wants, some_have_captions=some) for id, one in said.items()}
    for id, finding in _same_ones(said).items():
        found[id].append(finding)
    return found


def _of_one(said: Said, wants: CaptionWants, *, some_have_captions: bool) -> list[Finding]:
    if said.trouble:
        remedy = said.trouble[0].remedy or "Mend the caption."
        return [Finding(Kind.CAPTION_TROUBLE, "look", said_where(one), one.remedy or remedy) for one in said.trouble]
    if not said.caption:
        return _without_words(said, wants, some_have_captions=some_have_captions)
    return [*_on_tokens(said.caption, wants), *_on_length(said.caption, wants)]


def _without_words(said: Said, wants: CaptionWants, *, some_have_captions: bool) -> list[Finding]:
    if said.caption is None and not some_have_captions:
        return []  # said once, of the folder
    prompt = wants.prompt
    takes = f"it takes the prompt for all, {shown(prompt, limit=60)!r}" if prompt else "and there is no prompt for all"
    weight = "note" if prompt else "look"
    remedy = "Write one, or keep the prompt." if prompt else "Write one, or give data.instance_prompt."
    if said.caption is None:
        return [Finding(Kind.NO_CAPTION, weight, f"other pictures have captions; {takes}", remedy)]
    return [Finding(Kind.EMPTY_CAPTION, weight, f"{shown(said.source or '')} is empty; {takes}", remedy)]


def _on_tokens(caption: str, wants: CaptionWants) -> list[Finding]:
    words = wants.abstractions
    if not words or any(_whole(word).search(caption) for word in words):
        return []
    named = " or ".join(shown(word) for word in words)
    for word in words:
        other_case = _whole(word, re.IGNORECASE).search(caption)
        if other_case:
            reason = f"it says {shown(other_case.group())!r} where {shown(word)!r} is learnt"
            return [Finding(Kind.TOKEN_IN_OTHER_CASE, "look", reason, f"Write {shown(word)}.")]
    for word in words:
        inside = re.search(rf"\w*{re.escape(word)}\w*", caption, re.IGNORECASE)
        if inside:
            reason = f"{shown(word)!r} stands only inside of {shown(inside.group())!r}, which is another word"
            return [Finding(Kind.TOKEN_INSIDE_WORD, "look", reason, f"Write {shown(word)} as a word of its own.")]
    reason = f"it does not say {named}, so this picture would not teach the new tokens"
    return [Finding(Kind.NO_TOKEN, "look", reason, f"Write {named} where it names what is learnt.")]


def _whole(word: str, flags: re.RegexFlag = re.NOFLAG) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", flags)


def _on_length(caption: str, wants: CaptionWants) -> list[Finding]:
    long = wants.unread_of(caption)
    if long is None:
        return []
    read = long.tokens - long.unread
    if wants.reads_in_chunks:
        reason = f"its {long.tokens} tokens are read in {long.chunks} chunks of at most {read}"
        return [Finding(Kind.LONG_CAPTION, "note", reason, "Nothing has to be done.")]
    unread = shown(long.unread_text, limit=_SHOWN_UNREAD)
    reason = f"only the first {read} of its {long.tokens} tokens are read; unread: {unread!r}"
    return [Finding(Kind.LONG_CAPTION, "look", reason, "Shorten it, or set text.long_prompts to chunks.")]


def _same_ones(said: Mapping[str, Said]) -> dict[str, Finding]:
    by_caption: defaultdict[str, list[str]] = defaultdict(list)
    for id, one in said.items():
        if one.caption and not one.trouble:
            by_caption[one.caption].append(id)
    found: dict[str, Finding] = {}
    for ids in by_caption.values():
        for id in ids if len(ids) > 1 else ():
            others = tuple(other for other in ids if other != id)
            reason = f"{counted(len(others), 'other picture')} with the same words: {listed(others)}"
            remedy = "Say what is different: what captions do not tell apart is learnt as one."
            found[id] = Finding(Kind.SAME_CAPTION, "note", reason, remedy, others[:50])
    return found
