"""Owns what a trial is, the hash it is known by, and the ledger of those that are done; refuses to do any."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, cast

from filelock import FileLock, Timeout

from lorasmith.atomic import naming_write_failures
from lorasmith.config.train import TrainConfig
from lorasmith.world import Concept, Regime, Wording

Scores = Mapping[str, float]

_KEY_LENGTH: Final = 20
_ELSEWHERE: Final = ("recipe", "output", "checkpoint", "hub", "tracking", "validation")
"""Sections that do not change what is learnt (of `validation`, what is held out does)."""
_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "model": ("base", "revision", "variant", "vae"),  # the base's fingerprint says what they hold
    "data": ("instance_images", "cache_folder", "download_folder", "cache_latents"),
    "prior": ("class_images",),
    "runtime": ("device", "seed"),
}


def second_drawing(score: str) -> str:
    """What a score of the second drawing is called, of a trial that is examined twice."""
    return f"{score}_of_second_drawing"


@dataclass(frozen=True, slots=True)
class SetUp:
    """What a trial is made of besides its config: pictures, captions, class images, and where prompts are pooled."""

    pictures: int
    regime: Regime = "diverse"
    wording: Wording = "full"
    class_images: Literal["none", "drawn", "true"] = "none"
    pooling: Literal["end_of_text", "highest_id"] = "end_of_text"
    trained: bool = True
    checkpoints: tuple[int, ...] = ()
    examined_twice: bool = False


@dataclass(frozen=True)
class Trial:
    """One training and its evaluation.

    `seed` chooses the pictures and the noise of the evaluation; the config's own seed is the training's.
    """

    concept: Concept
    seed: int
    config: TrainConfig
    set_up: SetUp

    def key(self, *, base: str, protocol: str) -> str:
        """A hash of everything that its result depends on: config, pictures, seeds, base and evaluation.

        Options that are off are left out, so that an option that comes later and is off changes no key.
        """
        facts: dict[str, object] = {
            "concept": self.concept.name,
            "seed": self.seed,
            "base": base,
            "protocol": protocol,
        }
        if self.set_up.trained:
            facts |= {"config": _facts(self.config), "set up": _said(asdict(self.set_up))}
            facts |= {"training seed": self.config.runtime.seed}
        else:
            facts |= {"untrained": {"pictures": self.set_up.pictures, "regime": self.set_up.regime}}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:_KEY_LENGTH]


@dataclass(frozen=True)
class CheckpointScores:
    """What one checkpoint of a trial scored, its held-out loss, and its drift (a share of the base's own loss)."""

    step: int
    scores: Scores
    held_out_loss: float | None = None
    drift: float | None = None


@dataclass(frozen=True)
class TrialRecord:
    """A trial that is done: its scores at its end and at its checkpoints, or why it failed."""

    key: str
    concept: str
    seed: int
    pictures: int = 0
    """Instance images that it was trained on."""
    steps: int = 0
    scores: Scores = field(default_factory=dict[str, float])
    checkpoints: tuple[CheckpointScores, ...] = ()
    start_loss: float | None = None
    seconds_training: float = 0.0
    seconds_examining: float = 0.0
    failed: str | None = None

    def as_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), sort_keys=True) + "\n"


class Ledger:
    """The trials that are done, one JSON line each, in a folder that several processes may share."""

    def __init__(self, folder: Path) -> None:
        """Nothing is made before the first trial is written down."""
        self.folder = folder
        self._file = folder / "trials.jsonl"
        self._locks = folder / ".locks"

    def done(self) -> dict[str, TrialRecord]:
        """All trials that are done, by key; lines that a crash left half-written are passed over."""
        try:
            lines = self._file.read_text(encoding="utf-8", errors="replace").splitlines()
        except FileNotFoundError:
            return {}
        records = (_record_in(line) for line in lines)
        return {record.key: record for record in records if record is not None}

    def add(self, record: TrialRecord) -> None:
        """Write a trial down; it survives the process from here on. ResourceError when the disk is full."""
        with naming_write_failures(self._file):
            self._locks.mkdir(parents=True, exist_ok=True)
            with FileLock(self._locks / "ledger"), self._file.open("ab") as file:
                file.write(self._after_a_half_line() + record.as_line().encode())
                file.flush()
                os.fsync(file.fileno())

    @contextmanager
    def taking(self, key: str) -> Generator[bool]:
        """Whether the trial is this process's inside the block: not done, and nobody else at it.

        The lock is the operating system's, so a killed process leaves its trial to others.
        """
        with naming_write_failures(self._locks):
            self._locks.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self._locks / key, blocking=False)
        try:
            lock.acquire()
        except Timeout:
            yield False
            return
        try:
            yield key not in self.done()
        finally:
            lock.release()

    def _after_a_half_line(self) -> bytes:
        """A line break where a killed process left a line without one."""
        if not self._file.exists() or self._file.stat().st_size == 0:
            return b""
        with self._file.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return b"" if file.read(1) == b"\n" else b"\n"


def _facts(config: TrainConfig) -> dict[str, Any]:
    """The options that change what is learnt, those that are off left out."""
    dumped: dict[str, Any] = config.model_dump(mode="json")
    kept = {name: value for name, value in dumped.items() if name not in _ELSEWHERE}
    for section, places in _PLACES.items():
        if isinstance(kept.get(section), dict):
            kept[section] = {name: value for name, value in kept[section].items() if name not in places}
    kept["held_out"] = config.validation.held_out
    kept["adapter"]["targets"] = config.adapter.chosen_targets  # not None: which layers that means has changed before
    return _said(kept)


def _said(value: dict[str, Any]) -> dict[str, Any]:
    """Without what is off: None, False, and what is empty. A zero is said: no rate is not the usual rate."""
    inner = {name: _said(cast("dict[str, Any]", one)) if isinstance(one, dict) else one for name, one in value.items()}
    return {name: one for name, one in inner.items() if not (one is None or one is False or one in ((), [], {}, ""))}


def _record_in(line: str) -> TrialRecord | None:
    try:
        found: Any = json.loads(line)
        checkpoints = tuple(CheckpointScores(**one) for one in found.pop("checkpoints"))
        return TrialRecord(**found, checkpoints=checkpoints)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
