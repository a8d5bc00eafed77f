"""Owns turning other trainers' configs into ours, with a report of what was carried over, lost and avoided."""

from collections.abc import Sequence
from pathlib import Path
from typing import assert_never

from lorasmith.importing.ai_toolkit import import_ai_toolkit
from lorasmith.importing.kohya import import_kohya
from lorasmith.importing.onetrainer import import_onetrainer
from lorasmith.importing.result import Imported, Peer
from lorasmith.importing.simpletuner import import_simpletuner

__all__ = ["import_config"]


def import_config(peer: Peer, files: Sequence[Path], *, gather_to: Path | None = None) -> Imported:
    """A peer's config as one of ours; with `gather_to` its folders of pictures are laid into that one.

    Raises ConfigError when a file is not the peer's or says what cannot be ours, DataError for pictures that are not
    there to gather. Nothing is written but the folder `gather_to`, and nothing of the peer's is run.
    """
    match peer:
        case "kohya":
            return import_kohya(files, gather_to)
        case "onetrainer":
            return import_onetrainer(files, gather_to)
        case "ai-toolkit":
            return import_ai_toolkit(files, gather_to)
        case "simpletuner":
            return import_simpletuner(files, gather_to)
        case _:
            assert_never(peer)
