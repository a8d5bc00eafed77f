"""How far scores that need no truth order trainings as the truth does, on ledgers made by hand."""

from pathlib import Path

import pytest

from lorasmith.errors import DataError
from lorasmith.runs.proxies import agreements, as_markdown, rank_correlation
from lorasmith.runs.trials import CheckpointScores, Ledger, TrialRecord


def write(folder: Path, concept: str, rows: list[tuple[float, float, float]]) -> None:
    """A trial for each (joint, CLIP-I, CLIP-T)."""
    ledger = Ledger(folder)
    for number, (joint, likeness, text) in enumerate(rows):
        scores = {"joint": joint, "instance_similarity": likeness, "text_similarity": text}
        ledger.add(TrialRecord(f"{concept}-{number}", concept, number, scores=scores))


RISING = [(0.1 * step, 0.2 + 0.1 * step, 0.9 - 0.1 * step) for step in range(6)]


def test_a_proxy_that_orders_as_the_truth_does_has_one_and_one_that_reverses_it_has_minus_one(tmp_path: Path) -> None:
    write(tmp_path, "robot", RISING)
    write(tmp_path, "cactus", RISING[::-1])
    found = {one.proxy: one.with_truth["joint"] for one in agreements(tmp_path)}
    assert found["instance_similarity"].mean == pytest.approx(1.0)
    assert found["text_similarity"].mean == pytest.approx(-1.0)
    assert found["instance_similarity"].concepts == 2
    assert "held_out_loss" not in found  # nobody measured it


def test_concepts_are_ordered_each_by_itself(tmp_path: Path) -> None:
    """An easy concept scores higher in everything, which says nothing of trainings."""
    flat = [(0.1 + 0.01 * (step % 2), 0.1 + 0.01 * ((step // 2) % 2), 0.5) for step in range(8)]
    write(tmp_path, "hard", flat)
    write(tmp_path, "easy", [(joint + 0.8, likeness + 0.8, text) for joint, likeness, text in flat])
    found = {one.proxy: one.with_truth["joint"].mean for one in agreements(tmp_path)}
    assert found["instance_similarity"] == pytest.approx(0.0, abs=1e-9)


def test_checkpoints_count_and_what_is_the_same_all_through_does_not(tmp_path: Path) -> None:
    points = [{"joint": one, "instance_similarity": two, "text_similarity": 0.5} for one, two, _ in RISING]
    checkpoints = tuple(CheckpointScores(step, scores) for step, scores in enumerate(points))
    Ledger(tmp_path).add(TrialRecord("one", "robot", 0, scores=points[-1], checkpoints=checkpoints))
    found = {one.proxy: one.with_truth for one in agreements(tmp_path)}
    assert found["instance_similarity"]["joint"].mean == pytest.approx(1.0)
    assert "text_similarity" not in found


def test_ties_share_their_rank() -> None:
    assert rank_correlation([1, 1, 2, 3], [10, 10, 20, 30]) == pytest.approx(1.0)
    assert rank_correlation([1, 2, 3, 4], [1, 1, 2, 2]) == pytest.approx(0.8944, abs=1e-4)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None


def test_too_few_trials_are_refused_and_the_table_says_over_what(tmp_path: Path) -> None:
    write(tmp_path, "robot", RISING[:3])
    with pytest.raises(DataError, match="no concept"):
        agreements(tmp_path)
    write(tmp_path, "cactus", RISING)
    text = as_markdown(agreements(tmp_path))
    assert "| CLIP-I (likeness to the instance images) | +1.00 |" in text
    assert "1 concepts" in text or "1 concept" in text
