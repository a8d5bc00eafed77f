"""The layers of pyproject.toml hold: arrows point down only, and each external package lives in its place."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_imports_follow_the_layers() -> None:
    checked = subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-logo"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_options_are_listed_without_loading_torch() -> None:
    listing = "import sys, lorasmith.config.flags as flags; flags.flag_help(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", listing], check=False).returncode == 0
