"""Owns the regret of rules that choose checkpoints: what each loses against the best there was; chooses no rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Final

from lorasmith.data.wording import counted
from lorasmith.errors import ConfigError, DataError
from lorasmith.evaluation.paired import Interval, share_over_concepts
from lorasmith.runs.experiments import read_plans
from lorasmith.runs.trials import Ledger, TrialRecord, second_drawing
from lorasmith.training.selection import (
    LAST_SHARE,
    Candidate,
    Choice,
    Measured,
    RuleName,
    choose,
    nearest_in,
    smoothed,
    usual_steps,
)

TOLD: Final[Mapping[RuleName, str]] = {
    "last": "the last step",
    "steps_per_picture": "100 steps a picture",
    "square_root": "330·√pictures steps",
    "least_loss": "least held-out loss",
    "ours": "lorasmith without scores: the usual steps, before anything goes wrong",
}
_CHOOSING: Final = "product"
"""The score that `lorasmith best` chooses by."""
_EVER: Final = 1e6
_AS_AUTO: Final = f"among those up to {LAST_SHARE:g} times the usual steps"
"""What `--schedule.steps auto` keeps."""
_BY_HALVES: Final = "lorasmith with an evaluator: half of the prompts choose, the other half judges"
_BY_DRAWINGS: Final = "lorasmith with an evaluator: all prompts choose, drawn again with other noise they judge"


@dataclass(frozen=True)
class RuleRegret:
    """What one rule loses of the score, as a share of the best there was, over trials."""

    rule: str
    regret: Interval
    chosen_steps: tuple[int, ...]
    """Quartiles of what it chose."""


@dataclass(frozen=True)
class _Drawing:
    """One of two drawings of a trial's checkpoints that share no picture: what it chooses by, what it judges by."""

    chooses: str
    judges: str


_Drawings = tuple[_Drawing, _Drawing]


def regrets(folder: Path, *, score: str = "joint", experiments: Sequence[str] = ()) -> list[RuleRegret]:
    """The regret of every rule over all trials with several checkpoints evaluated, of `experiments` if any are named.

    ConfigError for an experiment that is not there, DataError where no trial has several checkpoints.
    """
    done, plans = Ledger(folder).done(), read_plans(folder)
    _refuse_unknown(experiments, [plan.name for plan in plans])
    chosen = [plan for plan in plans if not experiments or plan.name in experiments]
    trials = [(trial, done[trial.key]) for plan in chosen for trial in plan.trials if trial.key in done]
    by_key = {trial.key: record for trial, record in trials if len(record.checkpoints) > 1}
    if not by_key:
        raise DataError(
            f"no trial in {folder} has several checkpoints evaluated", remedy="Run an arm that says `checkpoints`."
        )
    return regrets_of(list(by_key.values()), score=score)


def regrets_of(records: Sequence[TrialRecord], *, score: str) -> list[RuleRegret]:
    """The same of records."""
    found = [_of_rule(told, rule, records, score) for rule, told in TOLD.items()]
    for told, drawn in _by_kind_of_drawing(records, score).items():
        found.append(_of_an_evaluator(told, drawn, score))
        found.append(_of_an_evaluator(f"{told}; {_AS_AUTO}", drawn, score, up_to=LAST_SHARE))
    return found


def curve_of(record: TrialRecord, score: str) -> list[float]:
    """A score over a trial's checkpoints as a smooth curve; of both drawings where there are two."""
    names = [score, second_drawing(score)] if _drawn_twice(record, score) else [score]
    return smoothed(
        [one.step for one in record.checkpoints],
        [fmean(one.scores[name] for name in names) for one in record.checkpoints],
    )


def best_of(record: TrialRecord, score: str) -> float:
    """How good a trial's best checkpoint is, without the luck of the pictures that tell which one it is.

    The highest point of a curve through noisy scores lies too high, by an excess that goes with the noise's variance:
    twice as much for half of the pictures. Taking the difference off removes it (the delete-half jackknife; Quenouille
    1956, doi 10.1093/biomet/43.3-4.353). Of a curve without a peak it removes less than all: regret is overstated.
    Where nothing tells two halves apart the luck is left in.
    """
    whole = max(curve_of(record, score))
    halves = _drawings(record, score)
    if halves is None:
        return whole
    return 2 * whole - fmean(max(_curve(record, half.judges)) for half in halves)


def as_markdown(found: Sequence[RuleRegret], *, score: str) -> str:
    """The table for a page."""
    lines = ["| rule | regret | 95 % interval | trials | steps it chose (quartiles) |", "|---|---|---|---|---|"]
    for one in found:
        interval = one.regret
        ends = "–" if interval.low is None or interval.high is None else f"{interval.low:.1%} … {interval.high:.1%}"
        steps = ", ".join(map(str, one.chosen_steps))
        lines.append(f"| {one.rule} | {interval.mean:.1%} | {ends} | {interval.values} | {steps} |")
    trials = counted(max((one.regret.values for one in found), default=0), "trial")
    told = (
        f"{trials}. Regret is the share of the best checkpoint's {score} that the chosen one lacks, summed over "
        "trials, on parabolas over the logarithm of the step, without the luck of the highest point (delete-half "
        "jackknife)."
    )
    return "\n".join([*lines, "", told]) + "\n"


def _refuse_unknown(names: Sequence[str], there: Sequence[str]) -> None:
    unknown = [name for name in names if name not in there]
    if unknown:
        raise ConfigError(f"no experiment {unknown[0]!r} was run here", remedy=f"There are {', '.join(there)}.")


def _of_rule(told: str, rule: RuleName, records: Sequence[TrialRecord], score: str) -> RuleRegret:
    choices = [choose(_measured(one), rule) for one in records]
    kept = [curve_of(record, score)[_place(record, choice)] for record, choice in zip(records, choices, strict=True)]
    return RuleRegret(told, _regret(records, kept, score), _quartiles(choices))


def _of_an_evaluator(
    told: str, drawn: Sequence[tuple[TrialRecord, _Drawings]], score: str, *, up_to: float = _EVER
) -> RuleRegret:
    """The rule that sees the scores of one drawing, judged by the other alone; both ways round.

    It chooses among candidates up to so many times the usual steps, and is compared with the best of all.
    """
    choices, kept = list[Choice](), list[float]()
    for record, (one, other) in drawn:
        pair = [(choose(_scored(record, by.chooses, up_to)), judge) for by, judge in ((one, other), (other, one))]
        choices += [choice for choice, _ in pair]
        kept.append(fmean(_curve(record, judge.judges)[_place(record, choice)] for choice, judge in pair))
    return RuleRegret(told, _regret([record for record, _ in drawn], kept, score), _quartiles(choices))


def _by_kind_of_drawing(records: Sequence[TrialRecord], score: str) -> dict[str, list[tuple[TrialRecord, _Drawings]]]:
    """The trials that an evaluator's choice can be judged on, by how it is judged."""
    found: dict[str, list[tuple[TrialRecord, _Drawings]]] = {}
    for record in records:
        drawings = _drawings(record, score)
        if drawings is not None:
            told = _BY_DRAWINGS if _drawn_twice(record, score) else _BY_HALVES
            found.setdefault(told, []).append((record, drawings))
    return found


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


def _drawings(record: TrialRecord, score: str) -> _Drawings | None:
    """The two drawings of a trial's checkpoints; halves of the prompts where each was drawn once, if they were told.

    `lorasmith best` chooses by the product; of halves of the prompts only the score itself is known.
    """
    if _drawn_twice(record, score):
        return _Drawing(_CHOOSING, score), _Drawing(second_drawing(_CHOOSING), second_drawing(score))
    if _halved(record, score):
        even, odd = _halves(score)
        return _Drawing(even, even), _Drawing(odd, odd)
    return None


def _drawn_twice(record: TrialRecord, score: str) -> bool:
    return _all_have(record, {second_drawing(score), second_drawing(_CHOOSING)})


def _halved(record: TrialRecord, score: str) -> bool:
    return _all_have(record, set(_halves(score)))


def _halves(score: str) -> tuple[str, str]:
    return f"{score}_of_even_prompts", f"{score}_of_odd_prompts"


def _all_have(record: TrialRecord, names: set[str]) -> bool:
    return all(names <= one.scores.keys() for one in record.checkpoints)


def _curve(record: TrialRecord, name: str) -> list[float]:
    return smoothed([one.step for one in record.checkpoints], [one.scores[name] for one in record.checkpoints])


def _measured(record: TrialRecord) -> Measured:
    candidates = tuple(Candidate(one.step, one.held_out_loss, one.drift) for one in record.checkpoints)
    return Measured(candidates, record.pictures, record.start_loss)


def _scored(record: TrialRecord, score: str, up_to: float) -> Measured:
    """With the scores of candidates up to the one nearest to so many times the usual steps."""
    plain = _measured(record)
    last = nearest_in(plain.candidates, up_to * usual_steps(record.pictures)).step
    return replace(
        plain,
        candidates=tuple(
            replace(one, score=scored.scores[score])
            for one, scored in zip(plain.candidates, record.checkpoints, strict=True)
            if one.step <= last
        ),
    )


def _quartiles(choices: Sequence[Choice]) -> tuple[int, ...]:
    steps = sorted(choice.step for choice in choices)
    return tuple(steps[round(share * (len(steps) - 1))] for share in (0.25, 0.5, 0.75)) if steps else ()
