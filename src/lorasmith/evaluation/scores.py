"""Owns what an evaluation hands on: scores with what they mean and were measured on, a curve, pictures; as JSON too."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from PIL import Image

from lorasmith.evaluation.intervals import Estimate, mean_of

ScoreName = Literal[
    "joint", "fidelity", "prompt_following", "product", "harmonic_mean", "mean_average_precision",
    "instance_similarity", "text_similarity",
    "leakage", "class_word_identity", "class_word_similarity", "class_word_drift", "unrelated_drift",
    "unrelated_kept", "embedding_drift",
    "copied_share", "copy_gap", "variety", "pairwise_distance", "entropy_change", "held_out_loss",
]  # fmt: skip
Better = Literal["higher", "lower", "near base"]


@dataclass(frozen=True)
class Explained:
    """A score in words: its label, which way is good, and a sentence of what it means."""

    label: str
    better: Better
    meaning: str


EXPLAINED: Final[dict[ScoreName, Explained]] = {
    "joint": Explained(
        "Joint", "higher",
        "The share of pictures that show the right concept and everything else the prompt asks for: the main score.",
    ),
    "fidelity": Explained(
        "Concept fidelity", "higher", "The share of pictures in which the concept itself is right, among look-alikes."
    ),
    "prompt_following": Explained(
        "Prompt following", "higher", "The mean share of what a prompt says, the concept apart, that is drawn so."
    ),
    "product": Explained(
        "Fidelity × prompt following", "higher",
        "What the joint score would be if the two failed independently of each other.",
    ),
    "harmonic_mean": Explained(
        "Harmonic mean", "higher", "Of fidelity and prompt following: near the worse of the two."
    ),
    "mean_average_precision": Explained(
        "mAP among look-alikes", "higher",
        "How far in front true pictures of the concept are when a drawn one searches a gallery for its likes.",
    ),
    "instance_similarity": Explained(
        "Similarity to the instance images", "higher",
        "Mean cosine between drawn pictures and the instance images; it rewards copies too, so read the copy scores.",
    ),
    "text_similarity": Explained(
        "Similarity to the prompt", "higher",
        "Mean cosine of CLIP between pictures and their prompts, the class word said in the token's place.",
    ),
    "leakage": Explained(
        "Leakage", "near base",
        "Whether backgrounds, sizes and places of the instance images show up unasked, as log-odds against the base "
        "(0: no more than without the concept; 0.7: twice the odds).",
    ),
    "class_word_identity": Explained(
        "Concept without its token", "near base",
        "How often the class word alone draws the concept: above the base's share, the word has been taken over.",
    ),
    "class_word_similarity": Explained(
        "Class word's likeness to the instance images", "near base",
        "How much more like the instance images the class word alone draws than the base does.",
    ),
    "class_word_drift": Explained(
        "Drift of the class word", "lower",
        "How far the class word's pictures moved in what was not asked for (total variation beyond chance, 0 to 1).",
    ),
    "unrelated_drift": Explained(
        "Drift of unrelated prompts", "lower",
        "The same for prompts that have nothing to do with the concept (total variation beyond chance, 0 to 1).",
    ),
    "unrelated_kept": Explained(
        "Unrelated objects kept", "near base", "How often an unrelated prompt still draws the object it names."
    ),
    "embedding_drift": Explained(
        "Change with the adapter on", "lower",
        "1 − cosine between pictures with the adapter and without it, of unrelated prompts at equal seeds.",
    ),
    "copied_share": Explained(
        "Copies", "lower",
        "The share of pictures three times nearer to one instance image than to any other: copies rather than new.",
    ),
    "copy_gap": Explained(
        "Copy gap", "near base",
        "How much nearer pictures are to the instance images than to as many held-out ones of the same concept, as a "
        "share of the distance: 0 is learnt, above is remembered.",
    ),
    "variety": Explained(
        "Variety over seeds", "near base",
        "How many truly different pictures the seeds of one prompt give (Vendi score, from 1 to their number).",
    ),
    "pairwise_distance": Explained(
        "Distance between seeds", "near base", "The mean distance between two pictures of one prompt."
    ),
    "entropy_change": Explained(
        "Freedom of what was not asked", "near base",
        "How much more evenly unasked factors vary over seeds than the base's do (nats; below 0: fewer values).",
    ),
    "held_out_loss": Explained(
        "Held-out loss", "lower",
        "The denoising loss on pictures of the concept that were never trained on, at fixed noise, next to the base's.",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """One number: its interval, the same of the base alone and of true pictures, and what it was measured on."""

    name: ScoreName
    estimate: Estimate
    measured_on: str
    base: float | None = None
    ceiling: float | None = None

    @property
    def explained(self) -> Explained:
        """The score in words."""
        return EXPLAINED[self.name]


@dataclass(frozen=True)
class CurvePoint:
    """What one adapter scale gives; of the four, those that could be measured."""

    scale: float
    joint: float | None = None
    fidelity: float | None = None
    prompt_following: float | None = None
    class_word_identity: float | None = None
    likeness: float | None = None
    change: float | None = None


@dataclass(frozen=True)
class PictureRow:
    """One prompt with its pictures: a true render where there is truth, the base's, and the concept's over seeds."""

    prompt: str
    truth: Image.Image | None
    base: Sequence[Image.Image]
    drawn: Sequence[Image.Image]
    verdicts: Sequence[bool | None] = ()
    """For each of `drawn` whether all of it is right; None where nobody knows."""


@dataclass(frozen=True)
class Evaluation:
    """Everything about one export, or about the base alone."""

    name: str
    base: str
    concept: str | None
    scale: float
    scores: Sequence[Score]
    factors: Sequence[tuple[str, Estimate]]
    curve: Sequence[CurvePoint]
    rows: Sequence[PictureRow]
    read_by: str
    """Who looked at the pictures, in words."""
    notes: Sequence[str]
    drawn: int
    """Pictures drawn now; the others had been drawn before."""
    kept: int
    seconds: float

    def score(self, name: ScoreName) -> Score:
        """One score; a KeyError that says which there are."""
        found = self.find(name)
        if found is None:
            there = ", ".join(score.name for score in self.scores)
            raise KeyError(f"{name} could not be measured; there are {there}")
        return found

    def find(self, name: ScoreName) -> Score | None:
        """One score; None if it could not be measured."""
        return next((score for score in self.scores if score.name == name), None)

    def value(self, name: ScoreName) -> float:
        """One score's number."""
        return self.score(name).estimate.value


def across_concepts(evaluations: Sequence[Evaluation]) -> dict[ScoreName, Estimate]:
    """Each score's mean over several concepts, its interval by drawing whole concepts again; empty for fewer than two.

    Runs of one concept count as one group, so that more seeds of a concept do not pass for more concepts.
    """
    known = [one for one in evaluations if one.concept is not None]
    if len({one.concept for one in known}) < 2:
        return {}
    found: dict[ScoreName, Estimate] = {}
    for name in EXPLAINED:
        there = [(one.concept, score.estimate.value) for one in known if (score := one.find(name))]
        if len({concept for concept, _ in there}) > 1:
            found[name] = mean_of([value for _, value in there], [concept for concept, _ in there])
    return found


def as_records(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """Evaluations as plain JSON data without their pictures; what is not finite becomes null."""
    return {
        "version": 1,
        "evaluations": [_record(one) for one in evaluations],
        "across_concepts": {name: _estimate_record(one) for name, one in across_concepts(evaluations).items()},
    }


def _record(one: Evaluation) -> dict[str, Any]:
    return {
        "name": one.name,
        "base": one.base,
        "concept": one.concept,
        "scale": one.scale,
        "read_by": one.read_by,
        "scores": {score.name: _score_record(score) for score in one.scores},
        "factors": {factor: _estimate_record(estimate) for factor, estimate in one.factors},
        "curve": [{name: _finite(value) for name, value in asdict(point).items()} for point in one.curve],
        "notes": list(one.notes),
        "pictures_drawn": one.drawn,
        "pictures_kept": one.kept,
        "seconds": round(one.seconds, 1),
    }


def _score_record(score: Score) -> dict[str, Any]:
    return {
        **_estimate_record(score.estimate),
        "base": _finite(score.base),
        "ceiling": _finite(score.ceiling),
        "better": score.explained.better,
        "measured_on": score.measured_on,
        "meaning": score.explained.meaning,
    }


def _estimate_record(estimate: Estimate) -> dict[str, Any]:
    return {
        "value": _finite(estimate.value),
        "low": _finite(estimate.low),
        "high": _finite(estimate.high),
        "groups": estimate.groups,
    }


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
