"""Owns the scores of a concept of the emoji world, whose truth is known; refuses to draw."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from statistics import fmean
from typing import Final, Protocol, cast

import numpy as np
from PIL import Image

from lorasmith.evaluation import shared_scores
from lorasmith.evaluation.examination import Asked, Role, Shot
from lorasmith.evaluation.factors import Factor
from lorasmith.evaluation.features import pixel_features
from lorasmith.evaluation.intervals import Estimate, Floats, mean_of
from lorasmith.evaluation.material import Material, pictures_of
from lorasmith.evaluation.measures import (
    Judged,
    factor_accuracies,
    fidelity,
    harmonic_mean,
    joint,
    mean_average_precision,
    nearest_labels,
    product,
    prompt_following,
    similarities,
)
from lorasmith.evaluation.measures_of_harm import (
    drift_of_factors,
    leak,
    mean_leak,
)
from lorasmith.evaluation.measures_of_variety import entropy
from lorasmith.evaluation.oracle import Reading
from lorasmith.evaluation.scores import CurvePoint, PictureRow, Score, ScoreName
from lorasmith.evaluation.shared_scores import PicturesAndTexts, Space
from lorasmith.evaluation.world_examination import WorldSubject, twin_scenes
from lorasmith.world import Concept, Identity, Scene, evaluation_prompts, render, rivals, shipped_sprites, true_renders

PIXELS: Final = Space(pixel_features, "compared in pixels")
_GALLERY_SCENES: Final = (0, 6, 13, 19)
"""Which evaluation prompts' scenes stand in the gallery."""
_TWIN_SETS: Final = 4


class PictureReader(Protocol):
    """Whoever reads factors and identities off pictures: the oracle."""

    def read(self, pictures: Sequence[Image.Image]) -> list[Reading]:
        """A reading per picture."""
        ...


@dataclass(frozen=True)
class Seen:
    """What was read in one picture: a value per factor, and the identity embedding."""

    values: Mapping[str, str]
    identity: Floats


@dataclass(frozen=True)
class Gallery:
    """True renders of a concept and of what it must be told from, as identity embeddings [n, width] with names."""

    embeddings: Floats
    names: Sequence[str]


class WorldJudge:
    """Says of a picture whether the concept in it is right; reads true pictures once and keeps what it read.

    `clip` is the small CLIP, whose scores stand beside the true ones.
    """

    def __init__(self, subject: WorldSubject, reader: PictureReader, clip: PicturesAndTexts | None = None) -> None:
        self.subject = subject
        self.clip = clip
        self._reader = reader

    def read(self, pictures: Sequence[Image.Image]) -> list[Seen]:
        """What is in the pictures."""
        readings = self._reader.read(pictures) if pictures else []
        return [
            Seen(
                {factor: guess.value for factor, guess in reading.guesses.items()}, reading.identity.astype(np.float64)
            )
            for reading in readings
        ]

    def is_right(self, seen: Sequence[Seen]) -> list[bool]:
        """Whether each shows the concept: by its object or style, and an identity nearest to itself in the gallery."""
        concept = self.subject.concept
        if concept is None:
            raise ValueError("nobody knows what is right of a concept that is not of the world")
        own = self.subject.own_factor
        wanted = str(getattr(concept.shown_in(Scene("dog")), own))
        alike = [one.values[own] == wanted for one in seen]
        if not isinstance(concept.subject, Identity) or not seen:
            return alike
        nearest = nearest_labels(_identities(seen), self.gallery.embeddings, self.gallery.names)
        return [right and name == concept.name for right, name in zip(alike, nearest, strict=True)]

    @cached_property
    def gallery(self) -> Gallery:
        """The concept's true renders and its rivals', in a few scenes."""
        concept = cast(Concept, self.subject.concept)
        prompts = evaluation_prompts(concept)
        shown = [
            (one.name, one.shown_in(prompts[place].scene))
            for one in (concept, *rivals(concept))
            for place in _GALLERY_SCENES
        ]
        renders = [true_renders(scene, count=1)[0] for _, scene in shown]
        return Gallery(_identities(self.read(renders)), [name for name, _ in shown])

    @cached_property
    def truths_read(self) -> list[Seen]:
        """What is read in them, right or wrong: no drawn picture can be read better."""
        return self.read(true_pictures(cast(Concept, self.subject.concept)))


class WorldScores:
    """All scores of one export, its pictures read once."""

    def __init__(self, judge: WorldJudge, material: Material) -> None:
        self._judge = judge
        self._material = material
        self._knows = judge.subject.concept is not None
        shots = list(dict.fromkeys(material.pictures.by_shot))
        read = judge.read([material.pictures.by_shot[shot] for shot in shots])
        self._seen = dict(zip(shots, read, strict=True))

    def all(self) -> list[Score]:
        """Every score that can be taken, the most telling first."""
        material = self._material
        return [
            *self._of_prompts(),
            *self._likeness(),
            *self._leakage(),
            *self._drift(),
            *shared_scores.change_score(material, Space(self._identity_rows, "in the oracle's embedding")),
            *shared_scores.copied_score(material, PIXELS, truth=self._truths),
            *shared_scores.copy_gap_score(material, PIXELS, self._twins()),
            *shared_scores.variety_scores(material, PIXELS),
            *self._entropy(),
            *self._usual_scores(),
            *shared_scores.loss_score(material),
        ]

    def factors(self) -> list[tuple[str, Estimate]]:
        """How often each factor is drawn as asked."""
        return list(factor_accuracies(self._judged(self._material.drawn("prompt"))).items())

    def curve_point(self, pictures: Sequence[tuple[Shot, Image.Image]], scale: float) -> CurvePoint:
        """What another scale gives."""
        prompts = [one for one in pictures if one[0].role == "prompt"]
        judged = self._judged(prompts, self._judge.read(pictures_of(prompts)))
        following = prompt_following(judged).value
        if not self._knows:
            return CurvePoint(scale, prompt_following=following)
        alone = self._judge.is_right(self._judge.read([two for one, two in pictures if one.role == "class_word"]))
        return CurvePoint(
            scale, joint(judged).value, fidelity(judged).value, following, fmean(alone) if alone else None
        )

    def rows(self) -> list[PictureRow]:
        """The pictures by prompt, each beside the truth and the base's."""
        drawn, base = self._material.drawn("prompt"), self._material.base("prompt")
        truths = self._truths
        verdicts = [one.is_all_right if self._knows else None for one in self._judged(drawn)]
        return [
            PictureRow(
                asked.text,
                truths[place] if truths else None,
                [picture for shot, picture in base if shot.place == place],
                [picture for shot, picture in drawn if shot.place == place],
                [verdict for (shot, _), verdict in zip(drawn, verdicts, strict=True) if shot.place == place],
            )
            for place, asked in enumerate(self._material.examination.prompts)
        ]

    def _of_prompts(self) -> list[Score]:
        shots = self._material.drawn("prompt")
        judged, base = self._judged(shots), self._judged(self._material.base("prompt"))
        told = f"{len(shots)} pictures of {len(self._asked('prompt'))} prompts, read by the oracle"
        following = Score("prompt_following", prompt_following(judged), told, base=prompt_following(base).value)
        if not self._knows:
            return [following]
        truth = self._judged_truths()
        measures = (
            ("joint", joint), ("fidelity", fidelity), ("prompt_following", prompt_following),
            ("product", product), ("harmonic_mean", harmonic_mean),
        )  # fmt: skip
        scores = [
            Score(cast(ScoreName, name), measure(judged), told, base=measure(base).value, ceiling=measure(truth).value)
            for name, measure in measures
        ]
        return [*scores, *self._average_precision(shots)]

    def _average_precision(self, shots: Sequence[tuple[Shot, Image.Image]]) -> list[Score]:
        if self._judge.subject.own_factor == "style":  # an identity embedding knows nothing of styles
            return []
        gallery = self._judge.gallery
        concept = cast(Concept, self._judge.subject.concept)
        relevant = np.array([name == concept.name for name in gallery.names])
        rows = _identities([self._seen[shot] for shot, _ in shots])
        found = mean_average_precision(rows, gallery.embeddings, relevant, prompts=[shot.place for shot, _ in shots])
        truth = _identities(self._judge.truths_read)
        ceiling = mean_average_precision(truth, gallery.embeddings, relevant, prompts=range(len(truth))).value
        of = f"{len(gallery.names)} true renders of {len(set(gallery.names))} things"
        told = f"{len(shots)} pictures in a gallery of {of}"
        return [Score("mean_average_precision", found, told, ceiling=ceiling)]

    def _likeness(self) -> list[Score]:
        """For a concept nobody knows: how like the instance images pictures are in the oracle's identity embedding."""
        trained = self._material.instance.trained
        if self._knows or not trained:
            return []
        instance = _identities(self._judge.read(trained))

        def likeness(role: Role, *, with_concept: bool) -> Estimate:
            shots = self._material.drawn(role) if with_concept else self._material.base(role)
            rows = similarities(_identities([self._seen[shot] for shot, _ in shots]), instance).mean(axis=1)
            return mean_of(
                [float(one) for one in rows], [shot.place if role == "prompt" else shot.seed for shot, _ in shots]
            )

        told = f"against {len(trained)} instance images, in the oracle's embedding"
        return [
            Score(
                "instance_similarity", likeness("prompt", with_concept=True), told,
                base=likeness("prompt", with_concept=False).value,
            ),
            Score(
                "class_word_similarity", likeness("class_word", with_concept=True), told,
                base=likeness("class_word", with_concept=False).value,
            ),
        ]  # fmt: skip

    def _usual_scores(self) -> list[Score]:
        """What one would measure where nobody knows the truth, to be held against it."""
        clip = self._judge.clip
        if clip is None:
            return []
        space = Space(clip.pictures, f"by {clip.name}")
        likeness = shared_scores.likeness_score(self._material, space, "instance_similarity", "prompt")
        return [*(likeness if self._knows else []), *shared_scores.text_score(self._material, clip)]

    def _leakage(self) -> list[Score]:
        trained = self._material.instance.trained
        drawn, base = self._values("bare")
        if not trained or not drawn:
            return []
        instance = [one.values for one in self._judge.read(trained)]
        leaks = [
            leak(factor, _column(drawn, factor), _column(base, factor), _column(instance, factor))
            for factor in self._nuisances
        ]
        told = (
            f"{len(drawn)} seeds of “{self._material.examination.bare.text}” against {len(trained)} instance images; "
            + ", ".join(f"{one.factor} {one.log_odds.value:+.2f}" for one in leaks)
        )
        lows, highs = [one.log_odds.low for one in leaks], [one.log_odds.high for one in leaks]
        spread = _mean_ends(mean_leak(leaks), lows, highs, len(drawn))
        return [Score("leakage", spread, told, base=0.0)]

    def _drift(self) -> list[Score]:
        scores = list[Score]()
        drawn, base = self._values("class_word")
        if self._knows and drawn:
            scores.append(self._class_word_identity())
        if drawn:
            told = f"{len(drawn)} seeds of “{self._material.examination.bare.base_text}”, with the adapter and without"
            moved = drift_of_factors(drawn, base, self._nuisances)
            scores.append(Score("class_word_drift", Estimate(moved, None, None, len(drawn)), told, base=0.0))
        return [*scores, *self._unrelated()]

    def _class_word_identity(self) -> Score:
        right, base = (
            self._judge.is_right([self._seen[shot] for shot, _ in shots])
            for shots in (self._material.drawn("class_word"), self._material.base("class_word"))
        )
        told = f"{len(right)} seeds of “{self._material.examination.bare.base_text}”, read by the oracle"
        share = mean_of([float(one) for one in right], range(len(right)), is_share=True)
        return Score("class_word_identity", share, told, base=fmean(base))

    def _unrelated(self) -> list[Score]:
        shots = self._material.drawn("unrelated")
        if not shots:
            return []
        drawn, base = self._values("unrelated")
        places = [shot.place for shot, _ in shots]
        factors: tuple[Factor, ...] = ("style", "background", "size", "place", "tilt")
        moved = [
            drift_of_factors(_at(drawn, places, place), _at(base, places, place), factors)
            for place in dict.fromkeys(places)
        ]
        told = f"{len(moved)} unrelated prompts, {len(shots)} pictures, with the adapter and without"
        kept, base_kept = (
            mean_of(
                [float(one["thing"] == self._wanted(place)) for one, place in zip(values, places, strict=True)],
                places,
                is_share=True,
            )
            for values in (drawn, base)
        )
        return [
            Score("unrelated_drift", mean_of(moved, range(len(moved))), told, base=0.0),
            Score("unrelated_kept", kept, told, base=base_kept.value),
        ]

    def _entropy(self) -> list[Score]:
        drawn, base = self._values("bare")
        if len(drawn) < 2:
            return []
        changes = [entropy(_column(drawn, factor)) - entropy(_column(base, factor)) for factor in self._nuisances]
        told = f"{len(drawn)} seeds of “{self._material.examination.bare.text}”: {', '.join(self._nuisances)}"
        return [Score("entropy_change", Estimate(fmean(changes), None, None, len(drawn)), told, base=0.0)]

    def _twins(self) -> list[list[Image.Image]]:
        """Sets of true pictures of the same scenes as the instance images, which nobody trained on."""
        concept, trained = self._judge.subject.concept, self._material.instance.trained
        if concept is None:
            held_out = self._material.instance.held_out
            return [list(held_out)] if len(held_out) >= len(trained) else []
        scenes = [concept.shown_in(_scene(one)) for one in self._judge.read(trained)]
        sprites = shipped_sprites()
        return [
            [render(scene, sprites, side=trained[0].width) for scene in twin_scenes(scenes, number=number)]
            for number in range(_TWIN_SETS)
        ]

    @property
    def _truths(self) -> list[Image.Image]:
        concept = self._judge.subject.concept
        return [] if concept is None else true_pictures(concept)

    @property
    def _nuisances(self) -> tuple[Factor, ...]:
        """The factors that neither the token nor the class word says anything of."""
        return tuple(factor for factor in self._judge.subject.other_factors if factor != "thing")

    def _asked(self, role: Role) -> Sequence[Asked]:
        return self._material.examination.prompts if role == "prompt" else self._material.examination.unrelated

    def _wanted(self, place: int) -> str:
        return self._material.examination.unrelated[place].factors["thing"]

    def _judged(self, shots: Sequence[tuple[Shot, Image.Image]], seen: Sequence[Seen] | None = None) -> list[Judged]:
        seen = [self._seen[shot] for shot, _ in shots] if seen is None else seen
        right = self._judge.is_right(seen) if self._knows else [False] * len(seen)
        asked = self._material.examination.prompts
        return [
            Judged(shot.place, is_right, asked[shot.place].factors, one.values)
            for (shot, _), is_right, one in zip(shots, right, seen, strict=True)
        ]

    def _judged_truths(self) -> list[Judged]:
        seen = self._judge.truths_read
        asked = self._material.examination.prompts
        return [
            Judged(place, is_right, asked[place].factors, one.values)
            for place, (is_right, one) in enumerate(zip(self._judge.is_right(seen), seen, strict=True))
        ]

    def _values(self, role: Role) -> tuple[list[Mapping[str, str]], list[Mapping[str, str]]]:
        drawn, base = (
            [self._seen[shot].values for shot, _ in shots]
            for shots in (self._material.drawn(role), self._material.base(role))
        )
        return drawn, base

    def _identity_rows(self, pictures: Sequence[Image.Image]) -> Floats:
        return _identities(self._judge.read(pictures))


@lru_cache(maxsize=16)
def true_pictures(concept: Concept) -> list[Image.Image]:
    """A true render of each of the concept's evaluation prompts; none of them is ever trained on."""
    return [true_renders(prompt.scene, count=1)[0] for prompt in evaluation_prompts(concept)]


def _identities(seen: Sequence[Seen]) -> Floats:
    return np.stack([one.identity for one in seen])


def _column(rows: Sequence[Mapping[str, str]], factor: str) -> list[str]:
    return [row[factor] for row in rows]


def _at(rows: Sequence[Mapping[str, str]], places: Sequence[int], place: int) -> list[Mapping[str, str]]:
    return [row for row, where in zip(rows, places, strict=True) if where == place]


def _mean_ends(value: float, lows: Sequence[float | None], highs: Sequence[float | None], groups: int) -> Estimate:
    """The ends of a mean over factors, as if they moved together (the widest that they may be)."""
    if any(end is None for end in (*lows, *highs)):
        return Estimate(value, None, None, groups)
    low, high = (fmean(end for end in ends if end is not None) for ends in (lows, highs))
    return Estimate(value, low, high, groups)


def _scene(seen: Seen) -> Scene:
    values = seen.values
    scene = {factor: values[factor] for factor in ("thing", "style", "background", "size", "place", "tilt")}
    return Scene(**scene)  # pyright: ignore[reportArgumentType]  # the oracle's values are the scene's
