# pyright: reportUnknownVariableType=false
# safetensors' functions are only partly typed.
"""`--schedule.steps auto` keeps candidates, measures them and exports one; `lorasmith best` chooses afterwards."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lorasmith.config.load import load_config
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, DataError, StoppedError
from lorasmith.events import CheckpointChosen, Event, StepDone
from lorasmith.run_folder import RunFolder, read_records
from lorasmith.runs.best import best
from lorasmith.runs.plan import plan_run
from lorasmith.runs.stop_signal import StopSignal
from lorasmith.runs.train import resume, train
from lorasmith.training.checkpoint import read_checkpoint

SmallConfig = Callable[..., TrainConfig]
AUTO = {"steps": "auto", "max_steps": 6}
DRAWN = {"steps": 1}  # the card's pictures


def exported(run: Path) -> dict[str, torch.Tensor]:
    """The exported adapter and new tokens."""
    files = sorted((run / "export").glob("*.safetensors"))
    return {f"{file.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    """Whether two exports hold the same to the bit."""
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def chosen_in(run: Path) -> int:
    """The step that the run's events say was exported."""
    records = read_records(RunFolder(run).events_file)
    return next(int(one["step"]) for one in reversed(records) if one["event"] == "CheckpointChosen")


def test_the_plan_shows_the_candidates_and_holds_a_picture_out(small_config: SmallConfig) -> None:
    plan = plan_run(small_config(schedule={"steps": "auto", "max_steps": None}))
    assert plan.held_out_images == 1
    assert len(plan.candidate_steps) == 10
    assert plan.steps == plan.candidate_steps[-1] == 600
    assert 300 in plan.candidate_steps, "the usual number for three pictures"
    assert set(plan.candidate_steps) <= set(plan.checkpoint_steps)
    assert plan.pivot_step == 150, "half of what is expected, not of the last candidate"


def test_a_number_of_steps_plans_no_candidates(small_config: SmallConfig) -> None:
    plan = plan_run(small_config())
    assert (plan.candidate_steps, plan.held_out_images, plan.steps) == ((), 0, 8)


def test_auto_keeps_measures_and_exports_one_of_its_candidates(small_config: SmallConfig) -> None:
    config = small_config(validation=DRAWN, schedule=AUTO, checkpoint={"keep": 1, "every": 5})
    said = list[Event]()
    run = train(config, emit=said.append)
    folder, plan = RunFolder(run), plan_run(small_config(schedule=AUTO, output={"folder": run.parent / "other"}))
    assert folder.checkpoint_steps() == plan.candidate_steps, "every candidate is kept, and nothing else"
    measured = {one["step"]: one for one in read_records(folder.events_file) if one["event"] == "CandidateMeasured"}
    assert tuple(measured) == (0, *plan.candidate_steps)
    assert measured[0]["drift"] == pytest.approx(0, abs=1e-9)
    drifts = [measured[step]["drift"] for step in plan.candidate_steps]
    assert drifts[-1] > drifts[0] > 0, "it drifts further the longer it trains"
    (choice,) = [one for one in said if isinstance(one, CheckpointChosen)]
    weights = read_checkpoint(folder.checkpoint_folder(choice.step))[0].weights["denoiser"]
    found = exported(run)[
        "pytorch_lora_weights.safetensors/unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.lora_A.weight"
    ]
    assert any(torch.equal(found, tensor) for tensor in weights.values())
    assert f"{choice.step}" in (run / "export" / "README.md").read_text(encoding="utf-8")


def test_a_stopped_auto_run_goes_on_and_chooses_the_same(small_config: SmallConfig, tmp_path: Path) -> None:
    whole = train(small_config(validation=DRAWN, schedule=AUTO, output={"folder": tmp_path / "whole"}))
    stop = StopSignal()

    def stop_at_four(event: Event) -> None:
        if isinstance(event, StepDone) and event.step == 4:
            stop.ask()

    config = small_config(validation=DRAWN, schedule=AUTO, output={"folder": tmp_path / "stopped", "name": "whole"})
    with pytest.raises(StoppedError):
        train(config, stop=stop, emit=stop_at_four)
    run = resume(tmp_path / "stopped")
    assert chosen_in(run) == chosen_in(whole)
    assert same(exported(run), exported(whole))


def test_best_exports_the_checkpoint_it_is_told(small_config: SmallConfig, tmp_path: Path) -> None:
    """An export of a checkpoint is what a run that ended there would have exported."""
    long = train(
        small_config(validation=DRAWN, schedule={"steps": 6, "pivot_step": 2}, checkpoint={"every": 3, "keep": 5})
    )
    named = {"folder": tmp_path / "short", "name": "run"}
    short = train(small_config(validation=DRAWN, schedule={"steps": 3, "pivot_step": 2}, output=named))
    assert not same(exported(long), exported(short))
    found = best(long, step=3)
    assert found.export == long / "export"
    assert same(exported(long), exported(short))
    assert chosen_in(long) == 3
    assert RunFolder(long).state() == "finished"


def test_best_measures_what_was_not_measured_and_can_leave_everything_as_it_is(small_config: SmallConfig) -> None:
    run = train(small_config(checkpoint={"every": 2, "keep": 9}, validation={"held_out": 1, **DRAWN}))
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file() and path.name != "lock"}
    found = best(run, dry_run=True)
    assert [one.step for one in found.measured.candidates] == [2, 4, 6, 8]
    assert all(one.held_out_loss is not None and one.drift for one in found.measured.candidates)
    assert found.export is None
    assert {path: path.read_bytes() for path in before} == before
    told = json.loads(json.dumps(found.as_json()))
    assert told["rules"]["last"] == 8
    assert told["step"] == found.choice.step


def test_best_measures_as_the_run_itself_did(small_config: SmallConfig) -> None:
    run = train(small_config(validation=DRAWN, schedule=AUTO))
    folder = RunFolder(run)
    known = {one["step"]: one for one in read_records(folder.events_file) if one["event"] == "CandidateMeasured"}
    lines = folder.events_file.read_text(encoding="utf-8").splitlines(keepends=True)
    folder.events_file.write_text("".join(line for line in lines if "CandidateMeasured" not in line), encoding="utf-8")
    for one in best(run, dry_run=True).measured.candidates:
        assert one.held_out_loss == pytest.approx(known[one.step]["held_out_loss"], rel=1e-4)
        assert one.drift == pytest.approx(known[one.step]["drift"], rel=1e-3)


def test_an_evaluator_decides_where_there_is_one(small_config: SmallConfig) -> None:
    run = train(small_config(validation=DRAWN, checkpoint={"every": 2, "keep": 9}))
    shown = list[str]()

    def scorer(export: Path) -> float:
        shown.append(export.name)
        return 1.0 if export.name == "step-000004" else 0.2

    found = best(run, scorer=scorer)
    assert shown == ["step-000002", "step-000004", "step-000006", "step-000008"]
    assert found.choice.step == 4
    assert "through the scores of 4 checkpoints" in found.choice.reason


def test_what_cannot_be_chosen_from_is_said(small_config: SmallConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no run"):
        best(tmp_path / "nothing")
    run = train(small_config(validation=DRAWN))
    with pytest.raises(ConfigError, match="There are 8"):
        best(run, step=5)
    (run / "checkpoints" / "step-000008" / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(DataError, match="no whole checkpoint"):
        best(run)


def test_auto_refuses_a_rate_that_ends() -> None:
    with pytest.raises(ConfigError, match="cosine"):
        load_config((), ["--schedule.steps", "auto", "--schedule.lr-schedule", "cosine"])


def test_auto_can_be_said_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "run.toml"
    file.write_text('[schedule]\nsteps = "auto"\n')
    assert load_config([file]).config.schedule.chooses_its_steps
