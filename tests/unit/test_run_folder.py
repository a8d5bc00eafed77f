import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lorasmith.atomic import naming_write_failures, write_bytes, write_json
from lorasmith.errors import BusyError, ConfigError, ResourceError
from lorasmith.event_log import EventLog
from lorasmith.events import (
    CheckpointWritten,
    ExportWritten,
    Notice,
    RunEnded,
    RunStarted,
    SamplesReady,
    StepDone,
    ValidationDone,
)
from lorasmith.run_folder import RunFolder, read_records

OWNER = """
import sys, time
from pathlib import Path
from lorasmith.run_folder import RunFolder
with RunFolder(Path(sys.argv[1])).claim(fresh=False):
    print("owned", flush=True)
    time.sleep(60)
"""


def step_done(step: int, loss: float = 0.5) -> StepDone:
    return StepDone(step, loss, loss, None, {"denoiser": 1e-4}, {"denoiser": 0.1}, 0.2)


def started_run(path: Path, steps: int) -> tuple[RunFolder, EventLog]:
    folder = RunFolder(path)
    log = EventLog(folder, resumed_at=0)
    log.append(RunStarted(0, 10, 5, resumed=False))
    for step in range(1, steps + 1):
        log.append(step_done(step))
    return folder, log


def steps_in(folder: RunFolder) -> list[int]:
    return [record["step"] for record in read_records(folder.metrics_file)]


def test_a_missing_or_empty_folder_is_new_and_not_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        assert RunFolder(path).state() == "new"
        RunFolder(path).refuse_if_used()


def test_a_run_that_failed_before_its_first_step_leaves_a_folder_that_can_be_used_again(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=0)
    log.append(RunEnded(0, "failed", "no pictures"))
    write_json(folder.config_file, {})
    with folder.claim(fresh=True):
        assert folder.state() == "new"


def test_an_unfinished_run_is_refused_with_its_step_and_the_way_to_go_on(tmp_path: Path) -> None:
    folder, _ = started_run(tmp_path, steps=3)
    assert folder.state() == "unfinished"
    with pytest.raises(ConfigError, match=rf"unfinished run \(at step 3\).*--resume {tmp_path}"):
        folder.refuse_if_used()


def test_a_checkpoint_alone_makes_a_run_unfinished(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    for step in (400, 50):
        folder.checkpoint_folder(step).mkdir(parents=True)
    (folder.checkpoints / "step-000900.part").mkdir()
    assert folder.checkpoint_folder(400).name == "step-000400"
    assert folder.checkpoint_steps() == (50, 400)
    assert (folder.state(), folder.last_step()) == ("unfinished", 400)


@pytest.mark.parametrize(
    ("reason", "state"), [("done", "finished"), ("stopped", "unfinished"), ("failed", "unfinished")]
)
def test_only_an_end_that_says_done_finishes_a_run(tmp_path: Path, reason: str, state: str) -> None:
    folder, log = started_run(tmp_path, steps=3)
    log.append(RunEnded(3, reason))  # pyright: ignore[reportArgumentType]
    assert folder.state() == state


def test_a_finished_run_that_starts_again_is_unfinished(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=3)
    log.append(RunEnded(3, "done"))
    log.append(RunStarted(3, 20, 5, resumed=True))
    assert folder.state() == "unfinished"


def test_a_finished_run_is_refused(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=3)
    log.append(RunEnded(3, "done"))
    with pytest.raises(ConfigError, match="holds a finished run"), folder.claim(fresh=True):
        pass


def test_a_folder_with_foreign_files_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "holiday.jpg").write_bytes(b"picture")
    (tmp_path / ".DS_Store").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"not a run's: 'holiday.jpg'"), RunFolder(tmp_path).claim(fresh=True):
        pass
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".DS_Store", "holiday.jpg"]


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(ConfigError, match="is a file"), RunFolder(tmp_path / "run").claim(fresh=True):
        pass


def test_a_folder_without_a_run_cannot_be_gone_on_with(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no run in"):
        RunFolder(tmp_path).refuse_if_not_a_run()


def test_a_second_owner_is_turned_away_at_once_and_told_whose_the_folder_is(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        try:
            assert owner.stdout is not None
            owner.stdout.readline()
            for _ in range(2):  # the first attempt must not wipe the owner's id
                before = time.monotonic()
                with pytest.raises(BusyError, match=rf"pid {owner.pid}\)") as refused:
                    RunFolder(tmp_path).claim(fresh=False).__enter__()
                assert time.monotonic() - before < 1
                assert refused.value.exit_code == 7
                with pytest.raises(BusyError):
                    RunFolder(tmp_path).refuse_if_used()
        finally:
            owner.kill()


def test_a_lock_is_reclaimed_when_its_owner_was_killed(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout is not None
        owner.stdout.readline()
        owner.send_signal(signal.SIGKILL)
        owner.wait()
    with RunFolder(tmp_path).claim(fresh=True):
        assert (tmp_path / "lock").read_text().strip() == str(os.getpid())


def test_a_claim_is_given_back_after_the_block_and_after_a_failure(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with pytest.raises(ZeroDivisionError), folder.claim(fresh=True):
        raise ZeroDivisionError
    with folder.claim(fresh=True), pytest.raises(BusyError):
        folder.claim(fresh=True).__enter__()


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "plan.json"
    write_json(path, {"steps": 1})

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(ResourceError, match=r"disk is full.*plan\.json"):
        write_json(path, {"steps": 2})
    assert json.loads(path.read_text()) == {"steps": 1}
    assert [entry.name for entry in tmp_path.iterdir()] == ["plan.json"]


def test_other_failures_to_write_are_not_called_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="may not write"), naming_write_failures(tmp_path):
        raise PermissionError(13, "Permission denied")
    with pytest.raises(IsADirectoryError):
        write_bytes(tmp_path, b"")


def test_json_that_is_not_json_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "plan.json", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_metrics_and_other_events_go_to_their_own_files(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=2)
    log.append(ValidationDone(2, 0.25, {"0-99": 0.1}))
    log.append(Notice("three pictures are alike"))
    assert [record["event"] for record in read_records(folder.metrics_file)] == ["StepDone"] * 2 + ["ValidationDone"]
    events = read_records(folder.events_file)
    assert [record["event"] for record in events] == ["RunStarted", "Notice"]
    assert events[0]["pivot_step"] == 5
    assert events[0]["time"] <= events[1]["time"]


def test_paths_inside_the_run_are_relative_so_that_a_run_may_be_moved(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path / "run", steps=1)
    log.append(SamplesReady(1, (folder.samples / "a.png",), ("a photo of TOK",)))
    log.append(ExportWritten(tmp_path / "elsewhere.safetensors", ("diffusers",)))
    *_, samples, export = read_records(folder.events_file)
    assert samples["pictures"] == ["samples/a.png"]
    assert export["path"] == str(tmp_path / "elsewhere.safetensors")


def test_a_loss_that_is_not_finite_stays_readable_as_strict_json(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=0)
    log.append(step_done(1, float("nan")))
    assert "NaN" not in folder.metrics_file.read_text()
    assert read_records(folder.metrics_file)[0]["loss"] is None


def test_resuming_cuts_off_what_lies_after_the_resumed_step(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=4)
    log.append(CheckpointWritten(4, folder.checkpoint_folder(4)))
    for step in (5, 6, 7):
        log.append(step_done(step))
    log.append(Notice("said at 7"))
    log.append(RunEnded(7, "failed"))
    log.append(Notice("said after the end"))
    resumed = EventLog(folder, resumed_at=4)
    for step in (5, 6):
        resumed.append(step_done(step))
    assert steps_in(folder) == [1, 2, 3, 4, 5, 6]
    assert "CheckpointWritten" in folder.events_file.read_text()
    assert "RunEnded" not in folder.events_file.read_text()
    assert "said after the end" not in folder.events_file.read_text()


def test_starting_from_the_beginning_keeps_nothing(tmp_path: Path) -> None:
    folder, _ = started_run(tmp_path, steps=4)
    EventLog(folder, resumed_at=0)
    assert steps_in(folder) == []
    assert folder.state() == "new"


def test_a_half_written_last_line_is_dropped_and_the_next_one_is_whole(tmp_path: Path) -> None:
    folder, _ = started_run(tmp_path, steps=3)
    whole = folder.metrics_file.read_text()
    folder.metrics_file.write_text(whole[:-20])
    assert steps_in(folder) == [1, 2]
    EventLog(folder, resumed_at=2).append(step_done(3))
    assert steps_in(folder) == [1, 2, 3]


def test_names_that_are_no_unicode_do_not_break_the_log(tmp_path: Path) -> None:
    folder, log = started_run(tmp_path, steps=0)
    log.append(Notice(os.fsdecode(b"caf\xe9.jpg") + " is broken"))
    assert read_records(folder.events_file)[-1]["text"].encode(errors="surrogateescape").startswith(b"caf\xe9")
