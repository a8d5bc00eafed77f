"""Defects that were planted are found, and hardly anything else is: precision and recall of each kind."""

import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from lorasmith.config.train import TrainConfig
from lorasmith.runs.check import CheckWish, check
from lorasmith.testing.planted_defects import DEFECTS, Corpus, Score, score
from lorasmith.testing.planted_folders import SIDE, made_folder

GOOD_ENOUGH = 0.95


def scores_of(corpus: Corpus) -> list[Score]:
    """Each kind's score on a folder of made pictures."""
    config = TrainConfig.model_validate({"data": {"instance_images": corpus.folder, "resolution": SIDE}})
    report = check(config, CheckWish(keep_results=False))
    return score([corpus], [{one.id: {finding.kind.value for finding in one.findings} for one in report.pictures}])


def lines(scores: Sequence[Score]) -> str:
    """The scores to read."""
    return "\n".join(
        f"{one.kind:<20} planted {one.planted:>4}  recall {one.recall:.3f}  precision {one.precision:.3f}"
        for one in scores
    )


def below(scores: Sequence[Score]) -> list[Score]:
    """The kinds that are not found well enough, or found where they are not."""
    return [one for one in scores if min(one.recall, one.precision) < GOOD_ENOUGH]


def test_two_of_each_planted_defect_are_found_and_nothing_else(tmp_path: Path) -> None:
    scores = scores_of(made_folder(tmp_path / "pictures", each=2, clean=20, seed=1))
    sys.stdout.write(lines(scores) + "\n")
    assert {one.kind for one in scores} == set(DEFECTS.values())
    assert not below(scores), lines(scores)


@pytest.mark.slow
def test_twenty_of_each_planted_defect_are_found_with_precision_and_recall_of_95_percent(tmp_path: Path) -> None:
    scores = scores_of(made_folder(tmp_path / "pictures", each=20, clean=200))
    sys.stdout.write(lines(scores) + "\n")
    assert len(scores) >= 12
    assert all(one.planted >= 20 for one in scores)
    assert not below(scores), lines(scores)


def test_a_check_that_finds_nothing_or_everything_would_not_pass(tmp_path: Path) -> None:
    corpus = Corpus(tmp_path, {"a.png": {"blurred"}, "b.png": {"small"}})
    nothing = {one.kind: one for one in score([corpus], [{}])}
    everything = {
        one.kind: one for one in score([corpus], [{name: {"blurred"} for name in ("a.png", "b.png", "c.png")}])
    }
    assert nothing["blurred"].recall == 0
    assert everything["blurred"].recall == 1
    assert everything["blurred"].precision == pytest.approx(1 / 3)
