"""Owns how well a concept came out: right identity, obeyed prompts, both at once; refuses to look at pictures.

All of it is arithmetic on what somebody read in the pictures, so that each number can be checked by hand.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lorasmith.evaluation.intervals import Estimate, Floats, estimate, mean_of

Values = Mapping[str, str]
"""Factor by factor (`background`, `size`, …), a value."""


@dataclass(frozen=True)
class Judged:
    """One drawn picture: which prompt it is of, whether the concept is the right one, what was asked and what is seen.

    `asked` has the prompted factors without the concept's own; `seen` has at least those.
    """

    prompt: Hashable
    is_identity_right: bool
    asked: Values
    seen: Values

    @property
    def obeyed(self) -> float:
        """The share of prompted factors that are seen as asked; 1 where nothing was asked."""
        right = [self.seen[factor] == value for factor, value in self.asked.items()]
        return sum(right) / len(right) if right else 1.0

    @property
    def is_all_right(self) -> bool:
        """Whether the identity and every prompted factor are right."""
        return self.is_identity_right and self.obeyed == 1.0


def fidelity(pictures: Sequence[Judged]) -> Estimate:
    """P(identity right), over prompts."""
    return mean_of([float(one.is_identity_right) for one in pictures], _prompts(pictures), is_share=True)


def prompt_following(pictures: Sequence[Judged]) -> Estimate:
    """The mean share of prompted factors, identity left out, that are seen as asked."""
    return mean_of([one.obeyed for one in pictures], _prompts(pictures), is_share=True)


def joint(pictures: Sequence[Judged]) -> Estimate:
    """P(identity right and all prompted factors right): the main score."""
    return mean_of([float(one.is_all_right) for one in pictures], _prompts(pictures), is_share=True)


def product(pictures: Sequence[Judged]) -> Estimate:
    """Fidelity × prompt following: what the joint score would be if the two had nothing to do with each other."""
    return estimate(_both(pictures), _prompts(pictures), _product, is_share=True)


def harmonic_mean(pictures: Sequence[Judged]) -> Estimate:
    """The harmonic mean of fidelity and prompt following: near the worse of the two."""
    return estimate(_both(pictures), _prompts(pictures), _harmonic, is_share=True)


def factor_accuracies(pictures: Sequence[Judged]) -> dict[str, Estimate]:
    """For each factor that some prompt asks for, how often it is seen as asked."""
    factors = dict.fromkeys(factor for one in pictures for factor in one.asked)
    return {factor: _accuracy(factor, [one for one in pictures if factor in one.asked]) for factor in factors}


def similarities(queries: Floats, gallery: Floats) -> Floats:
    """Cosines [queries, gallery] of embeddings [n, width] and [m, width]."""
    return _unit(queries) @ _unit(gallery).T


def nearest_labels(queries: Floats, gallery: Floats, labels: Sequence[str]) -> list[str]:
    """For each query the label whose embeddings, averaged, are nearest to it by cosine."""
    names = list(dict.fromkeys(labels))
    units = _unit(gallery)
    chosen = [np.array([label == name for label in labels]) for name in names]
    centres = np.stack([units[mask].mean(axis=0) for mask in chosen])
    return [names[place] for place in similarities(queries, centres).argmax(axis=1)]


def average_precision(scores: Floats, relevant: npt.NDArray[np.bool_]) -> float:
    """Mean of the precisions at each relevant place of a ranking by descending score; ties are ranked worst first."""
    if not relevant.any():
        raise ValueError("nothing in the gallery is relevant")
    order = np.lexsort((relevant, -scores))
    hits = relevant[order]
    precisions = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precisions[hits].mean())


def mean_average_precision(
    queries: Floats, gallery: Floats, relevant: npt.NDArray[np.bool_], *, prompts: Sequence[Hashable]
) -> Estimate:
    """mAP of finding the concept's own true renders in a gallery that has its rivals too (1: always first)."""
    ranked = similarities(queries, gallery)
    return mean_of([average_precision(row, relevant) for row in ranked], prompts, is_share=True)


def _prompts(pictures: Sequence[Judged]) -> list[Hashable]:
    return [one.prompt for one in pictures]


def _both(pictures: Sequence[Judged]) -> Floats:
    rows = [(float(one.is_identity_right), one.obeyed) for one in pictures]
    return np.array(rows, dtype=np.float64).reshape(-1, 2)


def _product(rows: Floats) -> float:
    right, obeyed = (float(mean) for mean in rows.mean(axis=0))
    return right * obeyed


def _harmonic(rows: Floats) -> float:
    right, obeyed = (float(mean) for mean in rows.mean(axis=0))
    return 2 * right * obeyed / (right + obeyed) if right + obeyed else 0.0


def _accuracy(factor: str, pictures: Sequence[Judged]) -> Estimate:
    right = [float(one.seen[factor] == one.asked[factor]) for one in pictures]
    return mean_of(right, _prompts(pictures), is_share=True)


def _unit(rows: Floats) -> Floats:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
