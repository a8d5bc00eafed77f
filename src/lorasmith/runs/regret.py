"""Owns the regret of rules that choose checkpoints: what each loses against the best there was; chooses no rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from lorasmith.data.wording import counted
from lorasmith.errors import DataError
from lorasmith.evaluation.paired import Interval, share_over_concepts
from lorasmith.runs.experiments import read_plans
from lorasmith.runs.trials import Ledger, TrialRecord
from lorasmith.training.selection import Candidate, Choice, Measured, RuleName, choose, smoothed

TOLD: Final[Mapping[RuleName, str]] = {
    "last": "the last step",
    "steps_per_picture": "100 steps a picture",
    "square_root": "330·√pictures steps",
    "least_loss": "least held-out loss",
    "ours": "lorasmith: the usual steps, drawn by held-out loss",
}
_WITH_SCORE: Final = "lorasmith with an evaluator: half of the prompts choose, the other half judges"


@dataclass(frozen=True)
class RuleRegret:
    """What one rule loses of the score, as a share of the best there was, over trials."""

    rule: str
    regret: Interval
    chosen_steps: tuple[int, ...]
    """Quartiles of what it chose."""


def regrets(folder: Path, *, score: str = "joint") -> list[RuleRegret]:
    """The regret of every rule over all trials with several checkpoints evaluated."""
    done = Ledger(folder).done()
    trials = [(trial, done[trial.key]) for plan in read_plans(folder) for trial in plan.trials if trial.key in done]
    by_key = {trial.key: record for trial, record in trials if len(record.checkpoints) > 1}
    if not by_key:
        raise DataError(
            f"no trial in {folder} has several checkpoints evaluated", remedy="Run an arm that says `checkpoints`."
        )
    return regrets_of(list(by_key.values()), score=score)


def regrets_of(records: Sequence[TrialRecord], *, score: str) -> list[RuleRegret]:
    """The same of records."""
    return [
        *(_of_rule(told, rule, records, score) for rule, told in TOLD.items()),
        _of_an_evaluator(records, score),
    ]


def curve_of(record: TrialRecord, score: str) -> list[float]:
    """A score over a trial's checkpoints as a smooth curve."""
    return smoothed([one.step for one in record.checkpoints], [one.scores[score] for one in record.checkpoints])


def best_of(record: TrialRecord, score: str) -> float:
    """How good a trial's best checkpoint is, without the luck of the pictures that tell which one it is.

    The highest point of a curve through noisy scores lies too high, by an excess that goes with the noise's variance:
    twice as much for half of the prompts. Taking the difference off removes it (the delete-half jackknife; Quenouille
    1956, doi 10.1093/biomet/43.3-4.353). Of a curve without a peak it removes less than all: regret is overstated.
    """
    even, odd = _halves(record, score)
    return 2 * max(curve_of(record, score)) - (max(even) + max(odd)) / 2


def as_markdown(found: Sequence[RuleRegret], *, score: str) -> str:
    """The table for a page."""
    lines = ["| rule | regret | 95 % interval | steps it chose (quartiles) |", "|---|---|---|---|"]
    for one in found:
        interval = one.regret
        ends = "–" if interval.low is None or interval.high is None else f"{interval.low:.1%} … {interval.high:.1%}"
        steps = ", ".join(map(str, one.chosen_steps))
        lines.append(f"| {one.rule} | {interval.mean:.1%} | {ends} | {steps} |")
    trials = counted(max((one.regret.values for one in found), default=0), "trial")
    told = (
        f"{trials}. Regret is the share of the best checkpoint's {score} that the chosen one lacks, summed over "
        "trials, on parabolas over the logarithm of the step; where each half of the prompts was scored, without the "
        "luck of the highest point (delete-half jackknife)."
    )
    return "\n".join([*lines, "", told]) + "\n"


def _of_rule(told: str, rule: RuleName, records: Sequence[TrialRecord], score: str) -> RuleRegret:
    choices = [choose(_measured(one), rule) for one in records]
    kept = [curve_of(record, score)[_place(record, choice)] for record, choice in zip(records, choices, strict=True)]
    return RuleRegret(told, _regret(records, kept, score), _quartiles(choices))


def _of_an_evaluator(records: Sequence[TrialRecord], score: str) -> RuleRegret:
    """The rule that sees the scores of one half of the prompts, judged by the other half alone; both ways round."""
    choices, kept = list[Choice](), list[float]()
    for record in records:
        halves = _names(record, score)
        pair = [choose(_scored(record, half)) for half in halves]
        judged = [
            curve_of(record, judge)[_place(record, choice)] for choice, judge in zip(pair, halves[::-1], strict=True)
        ]
        choices += pair
        kept.append(sum(judged) / len(judged))
    return RuleRegret(_WITH_SCORE, _regret(records, kept, score), _quartiles(choices))


def _regret(records: Sequence[TrialRecord], kept: Sequence[float], score: str) -> Interval:
    """Nothing is lost where nothing could be had."""
    best, lost = dict[str, list[float]](), dict[str, list[float]]()
    for record, own in zip(records, kept, strict=True):
        most = best_of(record, score)
        best.setdefault(record.concept, []).append(most)
        lost.setdefault(record.concept, []).append(most - own)
    if not any(value > 0 for values in best.values() for value in values):
        return Interval(0.0, None, None, len(best), len(records))
    return share_over_concepts(lost, best)


def _place(record: TrialRecord, choice: Choice) -> int:
    return [one.step for one in record.checkpoints].index(choice.step)


def _names(record: TrialRecord, score: str) -> tuple[str, str]:
    """What the scores of both halves of the prompts are called; all prompts twice where they were not kept apart."""
    even, odd = f"{score}_of_even_prompts", f"{score}_of_odd_prompts"
    apart = all({even, odd} <= one.scores.keys() for one in record.checkpoints)
    return (even, odd) if apart else (score, score)


def _halves(record: TrialRecord, score: str) -> tuple[list[float], list[float]]:
    even, odd = _names(record, score)
    return curve_of(record, even), curve_of(record, odd)


def _measured(record: TrialRecord) -> Measured:
    candidates = tuple(Candidate(one.step, one.held_out_loss, one.drift) for one in record.checkpoints)
    return Measured(candidates, record.pictures, record.start_loss)


def _scored(record: TrialRecord, score: str) -> Measured:
    plain = _measured(record)
    return replace(
        plain,
        candidates=tuple(
            replace(one, score=scored.scores[score])
            for one, scored in zip(plain.candidates, record.checkpoints, strict=True)
        ),
    )


def _quartiles(choices: Sequence[Choice]) -> tuple[int, ...]:
    steps = sorted(choice.step for choice in choices)
    return tuple(steps[round(share * (len(steps) - 1))] for share in (0.25, 0.5, 0.75)) if steps else ()
