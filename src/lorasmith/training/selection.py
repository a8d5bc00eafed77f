"""Owns which of a run's checkpoints is taken, by rules that are pure functions of what was measured; reads no file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, assert_never, get_args

import numpy as np
from numpy.polynomial import Polynomial

RuleName = Literal["last", "steps_per_picture", "square_root", "least_loss", "ours"]
RULES: Final[tuple[RuleName, ...]] = get_args(RuleName)

STEPS_PER_PICTURE: Final = 100
"""The article's rule of thumb: 75 to 120 updates per picture."""
STEPS_PER_ROOT: Final = 330
"""Where the held-out loss of fine-tuned Stable Diffusion 1.5 is least: about 330·√pictures (10 to 270 pictures)."""

CANDIDATES: Final = 10
FIRST_SHARE: Final = 0.25
LAST_SHARE: Final = 2.0
"""Candidates lie between these shares of the usual number of steps, which is one of them. Of ten concepts of the
embedded base one needed more: chosen by scores among candidates up to 1.5 times the usual number they lose 3.1 % of
what was to be had, up to 2 times 1.2 %."""

DRIFT_BUDGET: Final = 0.4
"""How far predictions of prompts without the concept may move, as a share of the base's own loss on them. The best
checkpoints of the embedded base's trials lie at 0.07 to 0.38."""
LOSS_BUDGET: Final = 1.5
"""How large the held-out loss may become, as a share of what it was before training. Up to the usual number of steps it
reaches 1.25 in the embedded base's trials, with steps four times too large 1.4; two of four runs with steps sixteen
times too large, which unlearnt everything, came to 2 and 3."""
USUAL_PULL: Final = 0.1
"""What a checkpoint e times off the usual number of steps, or further, has to score more (scores are from 0 to 1); a
parabola up to there. 25 pictures tell scores apart to about as much, and of the embedded base's trials luck moves the
highest points of curves through them half as much as trials differ."""
DEGREE: Final = 2
"""Of the polynomial in the logarithm of the step that scores are taken to follow: over trials whose every candidate was
scored it foretells a candidate left out better than a line or a cubic does."""


@dataclass(frozen=True)
class Candidate:
    """A checkpoint with what was measured of it; None where it was not.

    `held_out_loss` is the fixed-noise loss of held-out pictures, `drift` how far predictions of prompts without the
    concept moved (a share of the base's own loss on them), `score` an evaluator's product score.
    """

    step: int
    held_out_loss: float | None = None
    drift: float | None = None
    score: float | None = None


@dataclass(frozen=True)
class Measured:
    """A run's candidates in the order of their steps, its number of pictures, and the held-out loss at step 0."""

    candidates: tuple[Candidate, ...]
    pictures: int
    start_loss: float | None = None


@dataclass(frozen=True)
class Choice:
    """The step that is taken, and why, in a sentence with its numbers."""

    step: int
    reason: str


def usual_steps(pictures: int) -> int:
    """About how many updates some pictures take: 100 for each, or 330·√pictures if that is fewer."""
    return max(1, round(min(STEPS_PER_PICTURE * pictures, STEPS_PER_ROOT * math.sqrt(pictures))))


def candidate_steps(usual: int, *, most: int | None = None) -> tuple[int, ...]:
    """Steps from 0.25 to 2 times the usual number, evenly spaced in logarithms; with `most`, an eighth of it to it."""
    last = LAST_SHARE * usual if most is None else min(LAST_SHARE * usual, float(most))
    first = last * FIRST_SHARE / LAST_SHARE
    ratio = last / first
    steps = (round(first * ratio ** (place / (CANDIDATES - 1))) for place in range(CANDIDATES))
    return tuple(sorted({max(1, step) for step in steps}))


def usual_share(last_candidate: int) -> int:
    """The usual number of steps of a run whose last candidate is known: what shares of the run are counted from."""
    return max(1, round(last_candidate / LAST_SHARE))


def held_out_pictures(pictures: int) -> int:
    """How many pictures to keep out for measuring: none of 3, 1 of 4 to 7, 2 of 8 to 15, then 15 %."""
    if pictures < 4:
        return 0
    if pictures < 8:
        return 1
    return max(2, round(0.15 * pictures))


def choose(measured: Measured, rule: RuleName = "ours") -> Choice:
    """The checkpoint that a rule takes. ValueError when there is none to take."""
    if not measured.candidates:
        raise ValueError("there is no checkpoint to choose from")
    match rule:
        case "last":
            return Choice(measured.candidates[-1].step, "the last one")
        case "steps_per_picture":
            return _nearest(measured, STEPS_PER_PICTURE * measured.pictures, f"{STEPS_PER_PICTURE} steps a picture")
        case "square_root":
            wanted = STEPS_PER_ROOT * math.sqrt(measured.pictures)
            return _nearest(measured, wanted, f"{STEPS_PER_ROOT}·√{measured.pictures} steps")
        case "least_loss":
            return _least_loss(measured)
        case "ours":
            return _ours(measured)
        case _:
            assert_never(rule)


def nearest_in(candidates: Sequence[Candidate], wanted: float) -> Candidate:
    """The candidate whose step is nearest to a number of steps, by their ratio."""
    return min(candidates, key=lambda one: abs(math.log(one.step / wanted)))


def smoothed(steps: Sequence[int], scores: Sequence[float]) -> list[float]:
    """Scores of a run's candidates on a parabola over the logarithm of the step; as they are, of three or fewer.

    Each is the score of a few pictures, so that the highest of them is mostly the luckiest.
    """
    if len(steps) <= DEGREE + 1:
        return list(scores)
    logarithms = np.log(steps)
    return [float(value) for value in Polynomial.fit(logarithms, scores, DEGREE)(logarithms)]


def _ours(measured: Measured) -> Choice:
    """By the evaluator's score where there is one, else near the usual number, bound by drift and held-out loss."""
    scored = [(one, one.score) for one in measured.candidates if one.score is not None]
    if scored:
        return _best_score(scored, measured.pictures)
    return _near_the_usual(measured)


def _best_score(scored: Sequence[tuple[Candidate, float]], pictures: int) -> Choice:
    """The highest of the curve through the scores, those far from the usual number counted for a little less.

    A prior for the place of the best step: where scores say little the usual number is taken, and where they say much,
    what they say.
    """
    usual, curve = usual_steps(pictures), smoothed([one.step for one, _ in scored], [score for _, score in scored])
    worth = [height - _pull(one.step, usual) for (one, _), height in zip(scored, curve, strict=True)]
    place, highest = worth.index(max(worth)), curve.index(max(curve))
    (chosen, score), told = scored[place], f"the curve through the scores of {len(scored)} checkpoints"
    if place != highest:
        return Choice(
            chosen.step,
            f"{told} is {curve[place]:.3f} there, and {curve[highest] - curve[place]:.3f} higher at step "
            f"{scored[highest][0].step}: too little to go so far from the usual {usual} steps for {pictures} pictures",
        )
    if len(scored) <= DEGREE + 1:
        return Choice(chosen.step, f"the best score, {score:.3f}, of {len(scored)} checkpoints")
    return Choice(chosen.step, f"the highest of {told}, {curve[place]:.3f}; its own is {score:.3f}")


def _pull(step: int, usual: int) -> float:
    return USUAL_PULL * min(math.log(step / usual) ** 2, 1.0)


def _near_the_usual(measured: Measured) -> Choice:
    """The candidate nearest to the usual number of steps, before the first that went wrong.

    Where the held-out loss is least has no say: likeness still grows there, and where that is differs from picture to
    picture more than the best step differs from run to run.
    """
    usual = usual_steps(measured.pictures)
    wanted = nearest_in(measured.candidates, usual)
    up_to_it = [one for one in measured.candidates if one.step <= wanted.step]
    for place, candidate in enumerate(up_to_it):
        wrong = _gone_wrong(candidate, measured.start_loss)
        if wrong is not None:
            return _before(up_to_it, place, wrong)
    told = f"the nearest to the usual {usual} steps for {measured.pictures} pictures"
    return Choice(wanted.step, told + _drift_told(wanted))


def _before(up_to_wanted: Sequence[Candidate], place: int, wrong: str) -> Choice:
    """The candidate before the one that went wrong; the first where that is the first."""
    chosen, first_wrong, wanted = up_to_wanted[max(0, place - 1)], up_to_wanted[place], up_to_wanted[-1]
    which = "the first, where already" if place == 0 else f"the last before step {first_wrong.step}, where"
    return Choice(chosen.step, f"{which} {wrong}; step {wanted.step} would have been taken{_drift_told(chosen)}")


def _least_loss(measured: Measured) -> Choice:
    with_loss = [(one.held_out_loss, one.step) for one in measured.candidates if one.held_out_loss is not None]
    if not with_loss:
        return choose(measured, "last")
    loss, step = min(with_loss)
    return Choice(step, f"the least held-out loss, {loss:.4f}")


def _nearest(measured: Measured, wanted: float, told: str) -> Choice:
    return Choice(nearest_in(measured.candidates, wanted).step, f"the nearest to {told}")


def _gone_wrong(candidate: Candidate, start_loss: float | None) -> str | None:
    """What says that training spoilt more than it taught; None where nothing does."""
    if candidate.drift is not None and candidate.drift > DRIFT_BUDGET:
        return f"drift, {candidate.drift:.0%} of the base's own loss, has passed {DRIFT_BUDGET:.0%}"
    loss = candidate.held_out_loss
    if loss is not None and start_loss and loss > LOSS_BUDGET * start_loss:
        return f"the held-out loss, {loss:.4f}, has passed {LOSS_BUDGET} times the {start_loss:.4f} it began with"
    return None


def _drift_told(candidate: Candidate) -> str:
    return "" if candidate.drift is None else f"; drift {candidate.drift:.0%} of the base's own loss"
