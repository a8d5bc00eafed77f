# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportAttributeAccessIssue=false
# wandb's protocol buffers are made when they are imported.
"""Reads what wandb wrote down offline: LevelDB's log format around protocol buffers. wandb reads it in Go."""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_BLOCK = 32768
_FULL, _LAST = 1, 4


def offline_files(folder: Path) -> list[Path]:
    """The files of all sessions, oldest first."""
    return sorted(folder.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)


def rows_in(path: Path, *, finished: bool = True) -> list[dict[str, Any]]:
    """What was logged, a dictionary each time, with `_step`. A run that was killed is not `finished`."""
    records = _finished(path) if finished else _records(path.read_bytes())
    found = [record.history for record in records if record.WhichOneof("record_type") == "history"]
    return [{_key(item): json.loads(item.value_json) for item in history.item} for history in found]


def config_in(path: Path) -> dict[str, Any]:
    """The hyper-parameters that the run was begun with."""
    told: dict[str, Any] = {}
    for record in _finished(path):
        if record.WhichOneof("record_type") == "run":
            told |= {_key(item): json.loads(item.value_json) for item in record.run.config.update}
    return told


def _finished(path: Path, *, seconds: float = 30.0) -> list[Any]:
    """All records of a finished run: wandb's own process writes the last ones a moment after `finish` returned."""
    until = time.monotonic() + seconds
    while True:
        records = list(_records(path.read_bytes()))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return records
        assert time.monotonic() < until, f"{path} has no end"
        time.sleep(0.01)


def _key(item: Any) -> str:
    return item.key or "/".join(item.nested_key)


def _records(content: bytes) -> Iterator[Any]:
    """Records in the file: after a header of 7 bytes, blocks of (checksum 4, length 2, type 1, data)."""
    assert content[:4] == b":W&B"
    place, whole = 7, b""
    while place + 7 <= len(content):
        left = _BLOCK - place % _BLOCK
        _, length, kind = struct.unpack_from("<IHB", content, place)
        if left < 7 or kind == 0:
            place += left
            continue
        if place + 7 + length > len(content):
            return  # half-written
        whole += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (_FULL, _LAST):
            record = Record()
            record.ParseFromString(whole)
            whole = b""
            yield record
