"""Which checkpoint each rule takes, on curves made so that the answer is known."""

import itertools
import math
import random

import pytest

from lorasmith.training.selection import (
    DRIFT_BUDGET,
    LOSS_BUDGET,
    Candidate,
    Choice,
    Measured,
    candidate_steps,
    choose,
    held_out_pictures,
    smoothed,
    usual_share,
    usual_steps,
)

STEPS = (100, 200, 400, 800, 1600)


def run(
    losses: tuple[float, ...] | None = None,
    drifts: tuple[float, ...] | None = None,
    scores: tuple[float, ...] | None = None,
    *,
    pictures: int = 4,
    start: float | None = 1.0,
) -> Measured:
    """A run with five candidates."""
    nothing = (None,) * len(STEPS)
    return Measured(
        tuple(
            Candidate(step, loss, drift, score)
            for step, loss, drift, score in zip(
                STEPS, losses or nothing, drifts or nothing, scores or nothing, strict=True
            )
        ),
        pictures,
        start,
    )


@pytest.mark.parametrize(
    ("rule", "step"), [("last", 1600), ("steps_per_picture", 400), ("square_root", 800), ("least_loss", 200)]
)
def test_simple_rules_take_what_they_say(rule: str, step: int) -> None:
    assert choose(run((0.9, 0.5, 0.6, 0.7, 0.8)), rule).step == step  # pyright: ignore[reportArgumentType]


def test_without_scores_the_checkpoint_nearest_to_the_usual_number_is_taken_whatever_the_held_out_loss_says() -> None:
    for losses in (None, (0.4, 0.5, 0.6, 0.7, 0.8), (0.8, 0.7, 0.6, 0.5, 0.4)):
        chosen = choose(run(losses, (0.1,) * 5, pictures=3))
        assert chosen.step == 400, "300 steps are nearer to 400 than to 200, by their ratio"
        assert chosen.reason == "the nearest to the usual 300 steps for 3 pictures; drift 10% of the base's own loss"


def test_the_last_checkpoint_before_drift_passes_its_budget_is_taken() -> None:
    over = DRIFT_BUDGET * 1.1
    chosen = choose(run(drifts=(0.0, 0.1, over, over, over)))
    assert chosen == Choice(
        200,
        "the last before step 400, where drift, 44% of the base's own loss, has passed 40%; step 400 would have been "
        "taken; drift 10% of the base's own loss",
    )
    assert choose(run(drifts=(0.0, 0.1, DRIFT_BUDGET, over, over))).step == 400, "at the budget, not past it"
    assert choose(run(drifts=(0.0, over, 0.1, 0.1, 0.1))).step == 100, "what comes after it is not trusted"
    first = choose(run(drifts=(over,) * 5))
    assert first.step == 100, "the least harm there is"
    assert first.reason.startswith("the first, where already drift, 44%")


def test_the_last_checkpoint_before_the_held_out_loss_passes_its_budget_is_taken() -> None:
    over = LOSS_BUDGET * 1.1
    chosen = choose(run((0.9, 0.9, over, 1.2, 1.2), start=1.0))
    assert chosen == Choice(
        200,
        "the last before step 400, where the held-out loss, 1.6500, has passed 1.5 times the 1.0000 it began with; "
        "step 400 would have been taken",
    )
    assert choose(run((0.9, 0.9, 1.2, over, over), start=1.0)).step == 400, "what went wrong later does no harm"
    assert choose(run((0.9, 0.9, over, over, over), start=2.0)).step == 400, "it is a share of where it began"
    assert choose(run((0.9, 0.9, over, over, over), start=None)).step == 400


def test_a_score_decides_whatever_loss_and_drift_say() -> None:
    assert choose(run((0.1, 0.2, 0.3, 0.4, 0.5), (9.0,) * 5, (0.1, 0.2, 0.3, 0.9, 0.4))).step == 800


def test_scores_that_say_little_leave_the_usual_number() -> None:
    flat = choose(run(scores=(0.52, 0.51, 0.50, 0.49, 0.48)))
    assert flat.step == 400, "400 are usual for four pictures"
    assert "0.020 higher at step 100: too little to go so far from the usual 400 steps for 4 pictures" in flat.reason
    steep = choose(run(scores=(0.9, 0.8, 0.7, 0.6, 0.5)))
    assert steep.step == 100


def test_a_run_far_from_the_usual_number_is_chosen_from_by_its_scores_alone() -> None:
    steps = (1, 2, 4, 8)
    scored = tuple(Candidate(step, score=0.5 - step / 100) for step in steps)
    assert choose(Measured(scored, pictures=40)).step == 1


def test_a_lucky_score_far_from_the_others_best_is_not_taken() -> None:
    chosen = choose(run(scores=(0.10, 0.62, 0.50, 0.55, 0.2)))
    assert chosen.step == 400
    assert "its own is 0.500" in chosen.reason


def test_of_a_few_scores_the_highest_is_taken() -> None:
    few = Measured(tuple(Candidate(step, score=score) for step, score in ((10, 0.2), (20, 0.1), (30, 0.3))), 4)
    assert choose(few) == Choice(30, "the best score, 0.300, of 3 checkpoints")


@pytest.mark.parametrize("peak", [250.0, 600.0, 1100.0])
def test_the_curve_through_noisy_scores_peaks_where_they_do(peak: float) -> None:
    steps = [round(125 * 10 ** (place / 11)) for place in range(12)]
    chance = random.Random(0)
    missed = 0.0
    for _ in range(50):
        scores = [0.8 - 0.3 * math.log(step / peak) ** 2 + chance.gauss(0, 0.08) for step in steps]
        curve = smoothed(steps, scores)
        missed += abs(math.log(steps[curve.index(max(curve))] / peak)) / 50
    assert missed < 0.25, "within a candidate or so, where the highest score is off by twice as much"


def test_nothing_to_choose_from_is_said() -> None:
    with pytest.raises(ValueError, match="no checkpoint"):
        choose(Measured((), 4))


@pytest.mark.parametrize("usual", [1, 3, 40, 500, 1476])
def test_candidates_are_evenly_spaced_in_logarithms(usual: int) -> None:
    steps = candidate_steps(usual)
    assert steps[0] == max(1, round(usual / 4))
    assert steps[-1] == 2 * usual
    assert usual in steps
    assert list(steps) == sorted(set(steps))
    if usual >= 100:
        ratios = [later / earlier for earlier, later in itertools.pairwise(steps)]
        assert max(ratios) / min(ratios) == pytest.approx(1, abs=0.05)


def test_no_candidate_lies_beyond_the_most_steps() -> None:
    assert candidate_steps(500, most=600)[-1] == 600
    assert candidate_steps(500, most=5000) == candidate_steps(500)
    assert candidate_steps(500, most=48)[0] == 6
    assert candidate_steps(500, most=1) == (1,)


@pytest.mark.parametrize(("pictures", "usual"), [(1, 100), (5, 500), (20, 1476), (100, 3300)])
def test_the_usual_number_grows_with_the_pictures_and_then_with_their_root(pictures: int, usual: int) -> None:
    assert usual_steps(pictures) == usual
    assert usual_share(candidate_steps(usual)[-1]) == pytest.approx(usual, abs=1)


@pytest.mark.parametrize(("pictures", "out"), [(1, 0), (3, 0), (4, 1), (7, 1), (8, 2), (15, 2), (40, 6)])
def test_pictures_are_held_out_where_there_are_enough(pictures: int, out: int) -> None:
    assert held_out_pictures(pictures) == out
    assert math.isclose(out, 0.15 * pictures, abs_tol=1.5)
