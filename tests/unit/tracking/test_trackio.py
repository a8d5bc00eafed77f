"""trackio, where it is installed: in a process of its own, because it reads its folder's name once, when imported."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SESSION = """
import sys
from pathlib import Path
from PIL import Image
from lorasmith.config.train import TrainConfig
from lorasmith.tracking.choice import trackers_of
from lorasmith.tracking.tracker import Picture, RunFacts

run, first, last = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
config = TrainConfig.model_validate({"tracking": {"report_to": ["trackio"]}, "output": {"folder": run}})
(tracker,) = trackers_of(config).values()
tracker.start(RunFacts("wolf", "wolves", {"adapter.rank": 4}, first, resumed=first > 0))
Image.new("RGB", (8, 8), "red").save(run.parent / "a.png")
for step in range(first + 1, last + 1):
    tracker.numbers(step, {"train/loss": float(step)})
    tracker.numbers(step, {"validation/loss": 2.0 * step})
    tracker.pictures(step, [Picture(run.parent / "a.png", "a TOK dog")])
tracker.finish("done")
"""

READ_BACK = """
import json
from trackio.sqlite_storage import SQLiteStorage
(run,) = SQLiteStorage.get_runs("wolves")
rows, config = SQLiteStorage.get_logs("wolves", run), SQLiteStorage.get_run_config("wolves", run)
print(json.dumps({"run": run, "rows": rows, "config": config}))
"""


def python(code: str, *words: object, **environment: str) -> str:
    """What a Python process says on stdout."""
    command = [sys.executable, "-c", code, *map(str, words)]
    known = {name: value for name, value in os.environ.items() if not name.startswith("TRACKIO")}
    ended = subprocess.run(command, env=known | environment, check=False, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.skipif(importlib.util.find_spec("trackio") is None, reason="trackio wants an older Pillow than the tests")
def test_a_run_that_crashed_and_went_on_is_one_run_in_trackio_with_each_step_once(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert python(SESSION, run, 0, 6) == ""
    assert python(SESSION, run, 4, 8) == ""
    found = json.loads(python(READ_BACK, TRACKIO_DIR=str(run / "tracking" / "trackio")))
    assert found["run"].startswith("wolf-")
    points = [(row["step"], row["train/loss"], row["validation/loss"]) for row in found["rows"]]
    assert points == [(step, step, 2 * step) for step in range(1, 9)]
    assert found["rows"][0]["samples/00"]["caption"] == "a TOK dog"
    assert found["config"]["adapter.rank"] == 4
