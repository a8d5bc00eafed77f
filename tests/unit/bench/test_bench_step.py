"""The step benchmark on a tiny base: it measures what it says, and the optimizers hold what trains and nothing else."""

import pytest
import torch

from lorasmith.bench.step import AFTER, BARE, BEFORE, BenchRequest, BenchResult, bench_step, interleaved
from lorasmith.testing import tiny_pipeline


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> BenchResult:
    base = tiny_pipeline(tmp_path_factory.mktemp("bench") / "base")
    return bench_step(BenchRequest(base=base, rank=4, rounds=2, warm_up=1, device="cpu"))


def test_every_contestant_is_compared_with_the_bare_denoiser(result: BenchResult) -> None:
    assert list(result.timings) == [BARE, BEFORE, AFTER]
    bare = result.timings[BARE]
    assert bare.ratio == 1.0
    for timing in result.timings.values():
        assert timing.lower <= timing.median <= timing.upper
        assert timing.ratio == pytest.approx(timing.median / bare.median)


def test_optimizers_remember_adapters_and_new_rows_only(result: BenchResult) -> None:
    # The tiny denoiser's adapted linears have 8,032 inputs and outputs; its encoders are 32 and 48 wide; two tokens.
    elements = {"denoiser": 8_032 * 4, "new_tokens_1": 2 * 32, "new_tokens_2": 2 * 48}
    remembered = ("s", "p0", "exp_avg", "exp_avg_sq")
    assert dict(result.optimizer_state) == {f"{part}: {key}": n for part, n in elements.items() for key in remembered}


def test_contestants_take_turns_and_warm_up_rounds_do_not_count() -> None:
    calls: list[str] = []
    contestants = {name: (lambda name=name: calls.append(name)) for name in ("a", "b")}
    seconds = interleaved(contestants, rounds=2, warm_up=1, device=torch.device("cpu"))
    assert calls == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}
