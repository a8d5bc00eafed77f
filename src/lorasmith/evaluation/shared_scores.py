"""Owns the scores that need no truth: copies, variety, held-out loss, change with the adapter on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from PIL import Image

from lorasmith.evaluation.examination import Role, Shot
from lorasmith.evaluation.intervals import Estimate, Floats, mean_of
from lorasmith.evaluation.material import Material, pictures_of, places_of
from lorasmith.evaluation.measures import similarities
from lorasmith.evaluation.measures_of_harm import drift_of_embeddings
from lorasmith.evaluation.measures_of_variety import (
    copied_share,
    copy_gap,
    distances,
    mean_pairwise_distance,
    vendi_score,
)
from lorasmith.evaluation.scores import Score, ScoreName

Featurise = Callable[[Sequence[Image.Image]], Floats]


@dataclass(frozen=True)
class Space:
    """Where pictures are compared: how they become rows of numbers, and what to call it."""

    featurise: Featurise
    name: str


class PicturesAndTexts(Protocol):
    """Whoever puts pictures and texts into one space, as CLIP does: rows of numbers whose cosines say how alike."""

    @property
    def name(self) -> str:
        """What to call it."""
        ...

    def pictures(self, pictures: Sequence[Image.Image], /) -> Floats:
        """A row per picture."""
        ...

    def texts(self, texts: Sequence[str], /) -> Floats:
        """A row per text."""
        ...


def likeness_score(material: Material, space: Space, name: ScoreName, role: Role) -> list[Score]:
    """The mean cosine between a role's pictures and the instance images (DINO and CLIP-I are such scores)."""
    drawn, base, trained = material.drawn(role), material.base(role), material.instance.trained
    if not trained or not drawn:
        return []
    instance = space.featurise(trained)
    told = f"{len(drawn)} pictures against {len(trained)} instance images, {space.name}"
    groups = places_of(drawn) if role == "prompt" else range(len(drawn))
    own, bases = (_mean_cosines(space, pictures_of(shots), instance) for shots in (drawn, base))
    return [Score(name, mean_of(own, groups), told, base=float(np.mean(bases)))]


def text_score(material: Material, clip: PicturesAndTexts) -> list[Score]:
    """The mean cosine between pictures and their prompts, the class word in the token's place (CLIP-T)."""
    shots = material.drawn("prompt")
    if not shots:
        return []
    wanted = clip.texts([asked.base_text for asked in material.examination.prompts])
    drawn, base = (
        [
            float(similarities(row[None], wanted[shot.place][None])[0, 0])
            for (shot, _), row in zip(series, clip.pictures(pictures_of(series)), strict=True)
        ]
        for series in (shots, material.base("prompt"))
    )
    told = f"{len(shots)} pictures of {len(wanted)} prompts, by {clip.name}"
    return [Score("text_similarity", mean_of(drawn, places_of(shots)), told, base=float(np.mean(base)))]


def variety_scores(material: Material, space: Space) -> list[Score]:
    """How different the seeds of the bare prompt are, and the base's of the class word."""
    drawn, base = (space.featurise(pictures_of(shots)) for shots in (material.drawn("bare"), material.base("bare")))
    if len(drawn) < 2:
        return []
    scale = mean_pairwise_distance(base) or 1.0
    told = f"{len(drawn)} seeds of “{material.examination.bare.text}”, {space.name}"
    return [
        Score(
            "variety", _plain(vendi_score(drawn, scale=scale), len(drawn)), told, base=vendi_score(base, scale=scale)
        ),
        Score(
            "pairwise_distance", _plain(mean_pairwise_distance(drawn), len(drawn)), told,
            base=mean_pairwise_distance(base),
        ),
    ]  # fmt: skip


def copied_score(material: Material, space: Space, *, truth: Sequence[Image.Image] = ()) -> list[Score]:
    """Copies among the pictures that nobody asked to look like an instance image; `truth` says what chance gives."""
    shots = [*material.drawn("prompt"), *material.drawn("bare")]
    trained = material.instance.trained
    if len(trained) < 2 or not shots:
        return []
    instance = space.featurise(trained)
    groups = [(shot.role, shot.place if shot.role == "prompt" else shot.seed) for shot, _ in shots]
    share = copied_share(distances(space.featurise(pictures_of(shots)), instance), groups)
    ceiling = _share(space, truth, instance) if truth else None
    told = f"{len(shots)} pictures against {len(trained)} instance images, {space.name}"
    base = [*material.base("prompt"), *material.base("bare")]
    return [Score("copied_share", share, told, base=_share(space, pictures_of(base), instance), ceiling=ceiling)]


def copy_gap_score(material: Material, space: Space, held_out: Sequence[Sequence[Image.Image]]) -> list[Score]:
    """How much nearer pictures are to the instance images than to `held_out`, sets of as many other pictures."""
    shots = material.drawn("caption") or material.drawn("bare")
    trained = material.instance.trained
    if not trained or not held_out or not shots:
        return []
    drawn = space.featurise(pictures_of(shots))
    others = np.stack([distances(drawn, space.featurise(pictures)) for pictures in held_out])
    gap = copy_gap(distances(drawn, space.featurise(trained)), others, _groups(shots))
    role = "the captions" if shots[0][0].role == "caption" else "the bare token"
    told = (
        f"{len(shots)} pictures of {role}; {len(trained)} instance images against {len(held_out)} × "
        f"{len(held_out[0])} held-out pictures, {space.name}"
    )
    return [Score("copy_gap", gap, told, base=0.0)]


def change_score(material: Material, space: Space) -> list[Score]:
    """How far the adapter moves pictures of unrelated prompts at equal seeds."""
    drawn, base = material.drawn("unrelated"), material.base("unrelated")
    if not drawn:
        return []
    change = drift_of_embeddings(
        space.featurise(pictures_of(drawn)), space.featurise(pictures_of(base)), groups=places_of(drawn)
    )
    prompts = len(set(places_of(drawn)))
    return [
        Score("embedding_drift", change, f"{prompts} unrelated prompts, {len(drawn)} pictures, {space.name}", base=0.0)
    ]


def loss_score(material: Material) -> list[Score]:
    """The held-out loss as a share of the base's."""
    losses = material.losses
    if losses is None or not losses.drawn:
        return []
    return [Score("held_out_loss", losses.ratio, losses.pictures, base=1.0)]


def _groups(shots: Sequence[tuple[Shot, Image.Image]]) -> list[int]:
    """Prompts; of a single prompt its seeds."""
    places = places_of(shots)
    return places if len(set(places)) > 1 else [shot.seed for shot, _ in shots]


def _share(space: Space, pictures: Sequence[Image.Image], instance: Floats) -> float | None:
    if not pictures:
        return None
    return copied_share(distances(space.featurise(pictures), instance), range(len(pictures))).value


def _plain(value: float, count: int) -> Estimate:
    return Estimate(value, None, None, count)


def _mean_cosines(space: Space, pictures: Sequence[Image.Image], instance: Floats) -> list[float]:
    return [float(mean) for mean in similarities(space.featurise(pictures), instance).mean(axis=1)]
