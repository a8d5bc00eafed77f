"""Owns how results are kept in a file of SQLite's: by key, each row with its hash; knows nothing of what they say."""

import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

CREATE = "CREATE TABLE IF NOT EXISTS results (key TEXT PRIMARY KEY, said BLOB NOT NULL, sha256 TEXT NOT NULL)"
GET = "SELECT said, sha256 FROM results WHERE key = ?"
PUT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?)"
_ALL = "SELECT key, said, sha256 FROM results"


def checksum(key: str, said: bytes) -> str:
    """The hash of one row."""
    return hashlib.sha256(key.encode() + b"\0" + said).hexdigest()


def damaged_results(file: Path) -> Iterator[str]:
    """Why a file of results is not, to the bit, what was written; once for all rows that differ."""
    try:
        connection = sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)
        try:
            different = sum(1 for row in connection.execute(_ALL) if not _is_whole(row))
        finally:
            connection.close()
    except sqlite3.Error as error:
        yield f"it cannot be read ({error})"
        return
    if different:
        yield f"{different} of its rows are not what was written"


def _is_whole(row: tuple[object, object, object]) -> bool:
    key, said, sha256 = row
    return isinstance(key, str) and isinstance(said, bytes) and checksum(key, said) == sha256
