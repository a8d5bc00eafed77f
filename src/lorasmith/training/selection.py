"""Owns which of a run's checkpoints is taken, by rules that are pure functions of what was measured; reads no file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, assert_never, get_args

RuleName = Literal["last", "steps_per_picture", "square_root", "least_loss", "ours"]
RULES: Final[tuple[RuleName, ...]] = get_args(RuleName)

STEPS_PER_PICTURE: Final = 100
"""The article's rule of thumb: 75 to 120 updates per picture."""
STEPS_PER_ROOT: Final = 330
"""Where the held-out loss of fine-tuned Stable Diffusion 1.5 is least: about 330·√pictures (10 to 270 pictures)."""

CANDIDATES: Final = 12
FIRST_SHARE: Final = 0.25
LAST_SHARE: Final = 2.5
"""Candidates lie between these shares of the usual number of steps."""

DRIFT_BUDGET: Final = 0.5
"""How far predictions of prompts without the concept may move, as a share of the base's own loss on them."""
LOSS_NOISE: Final = 0.1
"""Held-out losses nearer to the least than this share of what was gained count as equal to it."""


@dataclass(frozen=True)
class Candidate:
    """A checkpoint with what was measured of it; None where it was not.

    `held_out_loss` is the fixed-noise loss of held-out pictures, `drift` how far predictions of prompts without the
    concept moved (a share of the base's own loss on them), `score` an evaluator's product score with its standard
    error.
    """

    step: int
    held_out_loss: float | None = None
    drift: float | None = None
    score: float | None = None
    score_error: float = 0.0


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
    """Steps from 0.25 to 2.5 times the usual number, evenly spaced in logarithms; with `most`, a tenth of it to it."""
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


def _ours(measured: Measured) -> Choice:
    """By the evaluator's score where there is one, else by held-out loss and drift, else by the number of pictures."""
    if any(one.score is not None for one in measured.candidates):
        return _earliest_within_noise(measured)
    if any(one.held_out_loss is not None for one in measured.candidates):
        return _in_window(measured)
    return _by_number_and_drift(measured)


def _earliest_within_noise(measured: Measured) -> Choice:
    """The earliest candidate whose score is within one standard error of the best."""
    scored = [(one, one.score) for one in measured.candidates if one.score is not None]
    best, best_score = max(scored, key=lambda pair: pair[1])
    enough = best_score - best.score_error
    chosen, score = next(pair for pair in scored if pair[1] >= enough)
    if chosen is best:
        return Choice(best.step, f"the best score, {best_score:.3f}, among {len(scored)} checkpoints")
    return Choice(
        chosen.step,
        f"its score {score:.3f} is within the noise ({best.score_error:.3f}) of the best, {best_score:.3f} at step "
        f"{best.step}, and it comes earlier",
    )


def _in_window(measured: Measured) -> Choice:
    """The last candidate that still has the least held-out loss, within noise, and has not drifted past the budget.

    The least held-out loss is the earliest acceptable point: likeness still grows there while the loss is flat.
    """
    with_loss = [(one, one.held_out_loss) for one in measured.candidates if one.held_out_loss is not None]
    least, least_loss = min(with_loss, key=lambda pair: pair[1])
    start = measured.start_loss if measured.start_loss is not None else max(loss for _, loss in with_loss)
    most = least_loss + LOSS_NOISE * max(0.0, start - least_loss)
    flat = [(one, loss) for one, loss in with_loss if one.step >= least.step and loss <= most]
    window = [(one, loss) for one, loss in flat if not _has_drifted(one)]
    if not window:
        return _before_drift(with_loss, least)
    chosen, loss = window[-1]
    said = f"held-out loss {loss:.4f}, where the least is {least_loss:.4f} at step {least.step}"
    said += f" and the start was {start:.4f}"
    return Choice(chosen.step, f"{said}; the last one within {LOSS_NOISE:.0%} of the gain{_drift_told(chosen)}")


def _before_drift(with_loss: Sequence[tuple[Candidate, float]], least: Candidate) -> Choice:
    """No candidate of the flat stretch is within the drift budget: the least loss of those that are."""
    within = [pair for pair in with_loss if not _has_drifted(pair[0])]
    chosen, loss = min(within, key=lambda pair: pair[1]) if within else with_loss[0]
    return Choice(
        chosen.step,
        f"held-out loss {loss:.4f}, the least before drift passes {DRIFT_BUDGET:.0%} of the base's own loss "
        f"(the least of all, at step {least.step}, is past it){_drift_told(chosen)}",
    )


def _by_number_and_drift(measured: Measured) -> Choice:
    """Nothing is held out: the usual number of steps, or the last one before it within the drift budget."""
    wanted = usual_steps(measured.pictures)
    within = [one for one in measured.candidates if not _has_drifted(one)] or [measured.candidates[0]]
    chosen = min(within, key=lambda one: abs(math.log(one.step / wanted)))
    return Choice(
        chosen.step,
        f"no picture is held out, so nothing says when it stops getting better: the nearest to the usual {wanted} "
        f"steps for {measured.pictures} pictures{_drift_told(chosen)}",
    )


def _least_loss(measured: Measured) -> Choice:
    with_loss = [(one, one.held_out_loss) for one in measured.candidates if one.held_out_loss is not None]
    if not with_loss:
        return choose(measured, "last")
    chosen, loss = min(with_loss, key=lambda pair: pair[1])
    return Choice(chosen.step, f"the least held-out loss, {loss:.4f}")


def _nearest(measured: Measured, wanted: float, told: str) -> Choice:
    chosen = min(measured.candidates, key=lambda one: abs(math.log(one.step / wanted)))
    return Choice(chosen.step, f"the nearest to {told}")


def _has_drifted(candidate: Candidate) -> bool:
    return candidate.drift is not None and candidate.drift > DRIFT_BUDGET


def _drift_told(candidate: Candidate) -> str:
    return "" if candidate.drift is None else f"; drift {candidate.drift:.0%} of the base's own loss"
