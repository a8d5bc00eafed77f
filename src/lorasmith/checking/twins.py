"""Owns which of the pictures that show the same is kept, and what is said of the others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from lorasmith.checking.duplicates import Pair, groups_of, near_duplicates
from lorasmith.checking.findings import Finding, Kind
from lorasmith.checking.measures import Measures
from lorasmith.data.wording import shown
from lorasmith.sizes import Size

_MOST_OTHERS = 50


@dataclass(frozen=True)
class Candidate:
    """A readable picture as it is compared with the others; `flaws` counts what else was found of it."""

    id: str
    content: str
    size: Size
    measures: Measures
    flaws: int


@dataclass(frozen=True)
class Twins:
    """Groups of pictures that show the same, the best of each first, and what is said of the others by id."""

    groups: tuple[tuple[str, ...], ...]
    findings: Mapping[str, Finding]


def twins_among(candidates: Sequence[Candidate]) -> Twins:
    """Copies and near duplicates among all pictures of a folder."""
    by_content: defaultdict[str, list[Candidate]] = defaultdict(list)
    for one in candidates:
        by_content[one.content].append(one)
    different = [copies[0] for copies in by_content.values()]
    pairs = near_duplicates([one.measures.thumb for one in different])
    connected = [[different[place] for place in group] for group in groups_of(pairs)]
    groups = [[one for first in group for one in by_content[first.content]] for group in connected]
    alone = {id(one) for group in connected for one in group}
    groups += [copies for copies in by_content.values() if len(copies) > 1 and id(copies[0]) not in alone]
    ordered = sorted((sorted(group, key=_worth) for group in groups), key=lambda group: group[0].id)
    likeness = _likeness_by_content(different, pairs)
    return Twins(
        tuple(tuple(one.id for one in group) for group in ordered),
        {one.id: _finding(one, group, likeness) for group in ordered for one in group[1:]},
    )


def _worth(one: Candidate) -> tuple[int, int, float, str]:
    """The better the smaller: few flaws, many pixels, sharp edges; the name decides between equals."""
    return one.flaws, -one.size.height * one.size.width, one.measures.edge_width or 0.0, one.id


def _likeness_by_content(different: Sequence[Candidate], pairs: Iterable[Pair]) -> dict[frozenset[str], Pair]:
    return {frozenset((different[pair.first].content, different[pair.second].content)): pair for pair in pairs}


def _finding(one: Candidate, group: Sequence[Candidate], likeness: Mapping[frozenset[str], Pair]) -> Finding:
    others = tuple(other.id for other in group if other is not one)[:_MOST_OTHERS]
    same = next((other for other in group if other is not one and other.content == one.content), None)
    if same is not None and group.index(same) < group.index(one):
        remedy = "Leave it out; data.repeats shows all pictures more often, evenly."
        return Finding(Kind.COPY, "leave_out", f"the same bytes as {shown(same.id)}", remedy, others)
    best = group[0]
    pair = likeness.get(frozenset((one.content, best.content)))
    how = "" if pair is None else f" ({pair.likeness:.0%} alike{', mirrored' if pair.is_mirrored else ''})"
    reason = f"it shows the same as {shown(best.id)}{how}"
    remedy = "Keep the better one: what is shown twice is learnt twice as hard, background and all."
    return Finding(Kind.NEAR_DUPLICATE, "look", reason, remedy, others)
