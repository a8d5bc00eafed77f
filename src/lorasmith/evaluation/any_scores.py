"""Owns the scores of a concept on any base, by CLIP and DINOv2 where they are and without them else."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from lorasmith.evaluation import shared_scores
from lorasmith.evaluation.examination import Role, Shot
from lorasmith.evaluation.intervals import Estimate
from lorasmith.evaluation.material import Material
from lorasmith.evaluation.measures import similarities
from lorasmith.evaluation.scores import CurvePoint, PictureRow, Score, ScoreName
from lorasmith.evaluation.shared_scores import Space
from lorasmith.evaluation.trained_readers import ClipReader, DinoReader


@dataclass(frozen=True)
class Readers:
    """Who can look at pictures: the base's own latents always, CLIP and DINOv2 where there are weights."""

    latents: Space
    clip: ClipReader | None = None
    dino: DinoReader | None = None

    @property
    def best(self) -> Space:
        """Where likeness is compared: DINOv2 before CLIP before latents."""
        reader = self.dino or self.clip
        return self.latents if reader is None else Space(reader.pictures, f"by {reader.name}")

    @property
    def names(self) -> str:
        """All of them, in words."""
        trained = [reader.name for reader in (self.clip, self.dino) if reader is not None]
        return ", ".join([*trained, self.latents.name])


class AnyScores:
    """All scores of one export."""

    def __init__(self, readers: Readers, material: Material) -> None:
        self._readers = readers
        self._material = material

    def all(self) -> list[Score]:
        """Every score that can be taken."""
        material, readers = self._material, self._readers
        held_out = material.instance.held_out
        sets = [held_out] if len(held_out) >= len(material.instance.trained) > 0 else []
        return [
            *self._likeness("instance_similarity", "prompt"),
            *self._text_similarity(),
            *self._likeness("class_word_similarity", "class_word"),
            *shared_scores.change_score(material, readers.best),
            *shared_scores.copied_score(material, readers.latents),
            *shared_scores.copy_gap_score(material, readers.latents, sets),
            *shared_scores.variety_scores(material, readers.best),
            *shared_scores.loss_score(material),
        ]

    def factors(self) -> list[tuple[str, Estimate]]:
        """None: nobody reads factors here."""
        return []

    def rows(self) -> list[PictureRow]:
        """The pictures by prompt, each beside the base's."""
        drawn, base = self._material.drawn("prompt"), self._material.base("prompt")
        return [
            PictureRow(
                asked.text,
                None,
                [picture for shot, picture in base if shot.place == place],
                [picture for shot, picture in drawn if shot.place == place],
            )
            for place, asked in enumerate(self._material.examination.prompts)
        ]

    def curve_point(self, pictures: Sequence[tuple[Shot, Image.Image]], scale: float) -> CurvePoint:
        """Likeness to the instance images, and how far the class word moved from the base's."""
        trained = self._material.instance.trained
        prompts = [picture for shot, picture in pictures if shot.role == "prompt"]
        likeness = self._mean_likeness(prompts) if trained else None
        return CurvePoint(scale, likeness=likeness, change=self._change(pictures))

    def _likeness(self, name: ScoreName, role: Role) -> list[Score]:
        if self._readers.best is self._readers.latents:
            return []  # cosines of latents tell backgrounds from one another, not concepts
        return shared_scores.likeness_score(self._material, self._readers.best, name, role)

    def _text_similarity(self) -> list[Score]:
        clip = self._readers.clip
        return [] if clip is None else shared_scores.text_score(self._material, clip)

    def _change(self, pictures: Sequence[tuple[Shot, Image.Image]]) -> float | None:
        before = {shot.seed: picture for shot, picture in self._material.base("class_word")}
        moved = [(picture, before[shot.seed]) for shot, picture in pictures if shot.role == "class_word"]
        if not moved:
            return None
        one, other = (self._readers.best.featurise([pair[side] for pair in moved]) for side in (0, 1))
        return float(np.mean([1 - similarities(a[None], b[None])[0, 0] for a, b in zip(one, other, strict=True)]))

    def _mean_likeness(self, pictures: Sequence[Image.Image]) -> float:
        return float(np.mean(self._cosines(pictures)))

    def _cosines(self, pictures: Sequence[Image.Image]) -> list[float]:
        space = self._readers.best
        instance = space.featurise(self._material.instance.trained)
        return [float(mean) for mean in similarities(space.featurise(pictures), instance).mean(axis=1)]
