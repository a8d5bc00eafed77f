"""Owns the regret of rules that choose checkpoints: what each loses against the best there was; chooses no rule."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lorasmith.errors import DataError
from lorasmith.evaluation.paired import Interval, by_concept, mean_over_concepts
from lorasmith.runs.experiments import read_plans
from lorasmith.runs.trials import CheckpointScores, Ledger, TrialRecord
from lorasmith.training.selection import Candidate, Choice, Measured, RuleName, choose

TOLD: Final[Mapping[RuleName, str]] = {
    "last": "the last step",
    "steps_per_picture": "100 steps a picture",
    "square_root": "330·√pictures steps",
    "least_loss": "least held-out loss",
    "ours": "lorasmith: held-out loss and drift",
}
_WITH_SCORE: Final = "lorasmith with an evaluator: half of the pictures choose, the other half judges"
_HALVES: Final = ("joint_of_even_prompts", "joint_of_odd_prompts")


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
    found = [
        _regret(told, records, {one.key: choose(_measured(one), rule) for one in records}, score)
        for rule, told in TOLD.items()
    ]
    halved = [one for one in records if all(half in scores.scores for scores in one.checkpoints for half in _HALVES)]
    if halved:
        choices = {one.key: choose(_scored(one, _HALVES[0])) for one in halved}
        found.append(_regret(_WITH_SCORE, halved, choices, _HALVES[1]))
    return found


def smoothed(checkpoints: Sequence[CheckpointScores], score: str) -> list[float]:
    """A score over a trial's checkpoints, each the mean of itself (twice) and its neighbours.

    A few pictures score each checkpoint, so that the highest of the raw scores is mostly the luckiest.
    """
    raw = [one.scores[score] for one in checkpoints]
    padded = [raw[0], *raw, raw[-1]]
    return [(before + 2 * own + after) / 4 for before, own, after in zip(padded[:-2], raw, padded[2:], strict=True)]


def as_markdown(found: Sequence[RuleRegret], *, score: str) -> str:
    """The table for a page."""
    lines = ["| rule | regret | 95 % interval | steps it chose (quartiles) |", "|---|---|---|---|"]
    for one in found:
        interval = one.regret
        ends = "–" if interval.low is None or interval.high is None else f"{interval.low:.1%} … {interval.high:.1%}"
        steps = ", ".join(map(str, one.chosen_steps))
        lines.append(f"| {one.rule} | {interval.mean:.1%} | {ends} | {steps} |")
    trials = max((one.regret.values for one in found), default=0)
    told = f"{trials} trials; regret is the share of the best checkpoint's {score} that the chosen one lacks, "
    return "\n".join([*lines, "", told + "each trial's scores smoothed over neighbouring checkpoints."]) + "\n"


def _regret(rule: str, records: Sequence[TrialRecord], choices: Mapping[str, Choice], score: str) -> RuleRegret:
    lost: dict[tuple[str, int], float] = {}
    for number, record in enumerate(records):
        curve = dict(zip((one.step for one in record.checkpoints), smoothed(record.checkpoints, score), strict=True))
        best = max(curve.values())
        own = curve[choices[record.key].step]
        lost[record.concept, number] = (best - own) / best if best > 0 else 0.0
    steps = sorted(choice.step for choice in choices.values())
    return RuleRegret(rule, mean_over_concepts(by_concept(lost)), _quartiles(steps))


def _measured(record: TrialRecord) -> Measured:
    candidates = tuple(Candidate(one.step, one.held_out_loss, one.drift) for one in record.checkpoints)
    return Measured(candidates, record.pictures, record.start_loss)


def _scored(record: TrialRecord, score: str) -> Measured:
    """Candidates with a score; its standard error is that of a share over a dozen prompts."""
    plain = _measured(record)
    values = smoothed(record.checkpoints, score)
    candidates = tuple(
        Candidate(one.step, one.held_out_loss, one.drift, value, _PROMPT_NOISE * math.sqrt(max(value * (1 - value), 0)))
        for one, value in zip(plain.candidates, values, strict=True)
    )
    return Measured(candidates, record.pictures, record.start_loss)


_PROMPT_NOISE: Final = 0.6 / math.sqrt(13)
"""Thirteen prompts; smoothing over three checkpoints takes off 40 %."""


def _quartiles(steps: Sequence[int]) -> tuple[int, ...]:
    last = len(steps) - 1
    return tuple(steps[round(share * last)] for share in (0.25, 0.5, 0.75)) if steps else ()
