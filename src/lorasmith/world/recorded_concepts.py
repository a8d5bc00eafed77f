"""Owns the note beside pictures of which concept they show; refuses to guess it from the pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, cast

from lorasmith.errors import DataError

from .concepts import Concept, find_concept

_NAME: Final = ".concept.json"


def record_concept(folder: Path, concept: Concept) -> Path:
    """Note which concept a folder's pictures, or a run's, show; hidden, so that no reader of pictures minds it."""
    path = folder / _NAME
    path.write_text(json.dumps({"concept": concept.name}) + "\n", encoding="utf-8")
    return path


def recorded_concept(*folders: Path) -> Concept | None:
    """What the first folder with a note says; None where none has any, a DataError where it cannot be read."""
    path = next((folder / _NAME for folder in folders if (folder / _NAME).is_file()), None)
    if path is None:
        return None
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
        return find_concept(str(cast(dict[str, object], value)["concept"]))
    except (ValueError, KeyError, TypeError) as broken:
        raise DataError(f"{path} does not say a concept", remedy="Remove it, or name the concept.") from broken
