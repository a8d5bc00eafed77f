"""Owns the names of a run's files and who may write there; knows nothing of their meaning.

Whether a run is new, unfinished or finished is read off the files each time it is asked, never off a stored flag.
"""

import json
import os
import re
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from filelock import FileLock, Timeout

from lorasmith.atomic import naming_write_failures
from lorasmith.errors import BusyError, ConfigError

RunState = Literal["new", "unfinished", "finished"]
Record = Mapping[str, Any]

METRIC_EVENTS: Final = frozenset({"StepDone", "ValidationDone"})
"""Kinds of events that go to `metrics.jsonl`; all others go to `events.jsonl`."""


@dataclass(frozen=True)
class RunFolder:
    """A folder that holds one run, and the only place where its files are named."""

    path: Path

    @property
    def config_file(self) -> Path:
        """The config with every default written out."""
        return self.path / "config.resolved.json"

    @property
    def plan_file(self) -> Path:
        """What was decided from the config and the facts."""
        return self.path / "plan.json"

    @property
    def events_file(self) -> Path:
        """All events but the metrics, one JSON object a line."""
        return self.path / "events.jsonl"

    @property
    def metrics_file(self) -> Path:
        """`StepDone` and `ValidationDone`, one JSON object a line."""
        return self.path / "metrics.jsonl"

    @property
    def environment_file(self) -> Path:
        """Versions and machine."""
        return self.path / "environment.json"

    @property
    def lock_file(self) -> Path:
        """Locked by the process that owns the folder, whose id it holds."""
        return self.path / "lock"

    @property
    def report_file(self) -> Path:
        """The report, one self-contained page."""
        return self.path / "report.html"

    @property
    def evaluation_file(self) -> Path:
        """The report of `lorasmith evaluate`, one self-contained page."""
        return self.path / "evaluation.html"

    @property
    def samples(self) -> Path:
        """Folder of validation pictures."""
        return self.path / "samples"

    @property
    def class_images(self) -> Path:
        """Folder of generated class images."""
        return self.path / "class_images"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints, one folder each."""
        return self.path / "checkpoints"

    @property
    def export(self) -> Path:
        """Folder of the files for other programs: the one to upload."""
        return self.path / "export"

    @property
    def outbox_file(self) -> Path:
        """What is still to be uploaded to where; it is there only while something is."""
        return self.path / "outbox.json"

    @property
    def generated(self) -> Path:
        """Folder of pictures that `lorasmith generate` drew, one folder a call."""
        return self.path / "generated"

    @property
    def tracking(self) -> Path:
        """Folder of the trackers' files, and of what is needed to go on in the same tracker's run."""
        return self.path / "tracking"

    @property
    def model_card(self) -> Path:
        """The model card, inside the export folder so that it travels with it."""
        return self.export / "README.md"

    def checkpoint_folder(self, step: int) -> Path:
        """Where the checkpoint after `step` updates is."""
        return self.checkpoints / f"step-{step:06d}"

    def checkpoint_steps(self) -> tuple[int, ...]:
        """Steps that have a checkpoint folder, in order (whether each is whole is the checkpoint's own business)."""
        found = self.checkpoints.iterdir() if self.checkpoints.is_dir() else ()
        matches = (_CHECKPOINT_NAME.fullmatch(entry.name) for entry in found if entry.is_dir())
        return tuple(sorted(int(match.group(1)) for match in matches if match))

    def last_step(self) -> int:
        """The last step that left a metric or a checkpoint; 0 when none did."""
        steps = [record["step"] for record in read_records(self.metrics_file) if isinstance(record.get("step"), int)]
        return max((*steps, *self.checkpoint_steps()), default=0)

    def state(self) -> RunState:
        """New while no step was done, finished when the last start was followed by an end that says `done`."""
        bounds = [record for record in read_records(self.events_file) if record["event"] in ("RunStarted", "RunEnded")]
        if bounds and bounds[-1]["event"] == "RunEnded" and bounds[-1].get("reason") == "done":
            return "finished"
        return "unfinished" if self.last_step() > 0 else "new"

    def refuse_if_used(self) -> None:
        """BusyError while another process works here, ConfigError where a fresh run would mix with what is here."""
        self._refuse_foreign_files()
        if self.lock_file.exists():
            with self.claim(fresh=False):
                pass
        self._refuse_if_worked_in()

    def refuse_if_not_a_run(self) -> None:
        """Raise ConfigError when there is no run here to go on with or to look at."""
        if not self.config_file.is_file():
            raise ConfigError(
                f"there is no run in {self.path}: it has no {self.config_file.name}",
                remedy="Name the folder that `lorasmith train` wrote to (its output.folder).",
            )

    @contextmanager
    def claim(self, *, fresh: bool) -> Generator[None]:
        """Own the folder inside the block, making it if need be; BusyError at once when another process does.

        With `fresh`, a folder that is in use, used up or not ours is refused (ConfigError) before anything is written.
        The lock is the operating system's, so it goes when its owner dies, however that happens.
        """
        if fresh:
            self._refuse_foreign_files()
        with naming_write_failures(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        owner = self._owner_in_lock_file()
        lock = FileLock(self.lock_file, blocking=False, thread_local=False)
        try:
            with naming_write_failures(self.lock_file):
                lock.acquire()
        except Timeout:
            raise BusyError(
                f"another process{f' (pid {owner})' if owner else ''} is working in the folder {self.path}",
                where="output.folder",
                remedy="Wait for it to end, stop it, or choose another folder.",
            ) from None
        try:
            self.lock_file.write_text(f"{os.getpid()}\n")
            if fresh:
                self._refuse_if_worked_in()
            yield
        finally:
            lock.release()

    def _refuse_if_worked_in(self) -> None:
        match self.state():
            case "finished":
                raise ConfigError(
                    f"the folder {self.path} holds a finished run",
                    where="output.folder",
                    remedy="Choose another folder; nothing in this one was touched.",
                )
            case "unfinished":
                raise ConfigError(
                    f"the folder {self.path} holds an unfinished run (at step {self.last_step()})",
                    where="output.folder",
                    remedy=f"Go on with `lorasmith train --resume {self.path}`, or choose another folder.",
                )
            case "new":
                return

    def _owner_in_lock_file(self) -> int | None:
        try:
            return int(self.lock_file.read_text())
        except (OSError, ValueError):
            return None

    def _refuse_foreign_files(self) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise ConfigError(
                f"{self.path} is a file, not a folder", where="output.folder", remedy="Choose another folder."
            )
        if self.state() != "new":  # a run's; what else it holds, such as a tracker's folder, is its own matter
            return
        found = sorted(entry.name for entry in self.path.iterdir()) if self.path.is_dir() else []
        foreign = [repr(name) for name in found if name not in names_in_a_run() and not name.startswith(".")]
        if foreign:
            more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
            raise ConfigError(
                f"the folder {self.path} holds files that are not a run's: {', '.join(foreign[:3])}{more}",
                where="output.folder",
                remedy="Choose an empty or a new folder.",
            )


def read_records(path: Path) -> Sequence[Record]:
    """The events in a `.jsonl` file in order, without lines that a crash left half-written; none when it is missing."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return ()
    records = (_record_in(line) for line in lines)
    return [record for record in records if record is not None]


_CHECKPOINT_NAME: Final = re.compile(r"step-(\d{6,})")


def names_in_a_run() -> frozenset[str]:
    """The names of all files and folders that a run folder may hold."""
    here = RunFolder(Path())
    files = (here.config_file, here.plan_file, here.events_file, here.metrics_file, here.environment_file)
    folders = (here.samples, here.class_images, here.checkpoints, here.export, here.generated, here.tracking)
    others = (here.lock_file, here.report_file, here.evaluation_file, here.outbox_file)
    return frozenset(path.name for path in (*files, *folders, *others))


def _record_in(line: bytes) -> Record | None:
    try:
        value: object = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "event" in value else None  # pyright: ignore[reportUnknownVariableType]
