"""Owns examinations that were done before, found again by the content of the file; a check goes on where it stopped.

A file that is damaged or that cannot be written costs time and nothing else: everything is examined anew.
"""

import json
import logging
import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from lorasmith.checking.examine import VERSION, Examination
from lorasmith.data.kept_results import CREATE, GET, PUT, checksum
from lorasmith.data.wording import shown

_log = logging.getLogger(__name__)

_EXAMINATION = TypeAdapter(Examination)
_WRITE_EVERY = 64


class KeptExaminations:
    """Examinations by content, in one file of SQLite's; none at all when that file cannot be had."""

    def __init__(self, connection: sqlite3.Connection | None, *, settings: str) -> None:
        self._connection = connection
        self._settings = settings
        self._unwritten = 0

    def get_or(self, content: str, examine: Callable[[], Examination]) -> Examination:
        """What is known of these bytes, or else what `examine` finds, which is kept."""
        known = self.get(content)
        if known is None:
            known = examine()
            self.put(content, known)
        return known

    def get(self, content: str) -> Examination | None:
        """What is known of the bytes with this SHA-256."""
        if self._connection is None:
            return None
        try:
            key = self._key(content)
            row = self._connection.execute(GET, (key,)).fetchone()
            # A bit that flipped costs one picture's time.
            return _EXAMINATION.validate_json(row[0]) if row and checksum(key, row[0]) == row[1] else None
        except (sqlite3.Error, ValidationError) as error:
            self._give_up(error)
            return None

    def put(self, content: str, examination: Examination) -> None:
        """Keep what was found."""
        if self._connection is None:
            return
        try:
            key, said = self._key(content), _EXAMINATION.dump_json(examination)
            self._connection.execute(PUT, (key, said, checksum(key, said)))
            self._unwritten += 1
            if self._unwritten >= _WRITE_EVERY:
                self.write()
        except sqlite3.Error as error:
            self._give_up(error)

    def write(self) -> None:
        """Bring everything to the disk."""
        self._unwritten = 0
        try:
            if self._connection is not None:
                self._connection.commit()
        except sqlite3.Error as error:
            self._give_up(error)

    def close(self) -> None:
        """Bring everything to the disk and let go of the file."""
        self.write()
        if self._connection is not None:
            self._connection.close()

    def _key(self, content: str) -> str:
        return f"{content} {self._settings}"

    def _give_up(self, error: Exception) -> None:
        self._connection = None
        _log.warning("results of the check are not kept, because their file cannot be used: %s", shown(str(error)))


@contextmanager
def kept_examinations(file: Path | None, *, settings: Sequence[object]) -> Generator[KeptExaminations]:
    """What was examined before under the same settings, and room for more; with None, nothing is kept.

    Written down now and then and at the end, also when the check is stopped.
    """
    kept = KeptExaminations(None if file is None else _opened(file), settings=json.dumps([VERSION, *settings]))
    try:
        yield kept
    finally:
        kept.close()


def _opened(file: Path) -> sqlite3.Connection | None:
    try:
        # Pictures of people in small: nobody else on the machine needs to read them.
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(file, timeout=10)
        connection.execute(CREATE)
    except (OSError, sqlite3.Error) as error:
        _log.warning("results of the check are not kept: %s (%s)", shown(str(error)), shown(file))
        return None
    return connection
