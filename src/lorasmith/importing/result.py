"""Owns what an import comes to: values of ours with where they came from, and what a person has to know of the rest."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, cast

from lorasmith.config.train import TrainConfig

Peer = Literal["kohya", "onetrainer", "ai-toolkit", "simpletuner"]


@dataclass(frozen=True)
class Carried:
    """A value of ours and what the peer's config said for it."""

    path: str
    value: object
    theirs: str
    remark: str = ""


@dataclass(frozen=True)
class Lost:
    """Something the peer's config says that has no equal here, and what happens instead."""

    theirs: str
    instead: str


@dataclass(frozen=True)
class Trap:
    """A difference between the programs that would have gone wrong in silence, and what was done about it."""

    what: str
    told: str


@dataclass(frozen=True)
class Unknown:
    """A key that the peer itself does not know, as far as we know it; it has no effect here.

    `near` is the key of the peer that it may have been meant to be.
    """

    key: str
    value: str
    near: str | None = None

    def __str__(self) -> str:
        """`netwrok_dim = 16 (did you mean network_dim?)`."""
        return f"{self.key} = {self.value}{f' (did you mean {self.near}?)' if self.near else ''}"


@dataclass(frozen=True)
class Imported:
    """A peer's config as one of ours."""

    peer: Peer
    files: tuple[str, ...]
    config: TrainConfig
    carried: tuple[Carried, ...]
    lost: tuple[Lost, ...]
    traps: tuple[Trap, ...]
    unknown: tuple[Unknown, ...]

    @property
    def values(self) -> Mapping[str, object]:
        """Ours, by dotted path."""
        return {one.path: one.value for one in self.carried}

    def as_json(self) -> dict[str, Any]:
        """The report as plain data."""
        return {
            "peer": self.peer,
            "files": list(self.files),
            "carried": [
                {"option": one.path, "value": _plain(one.value), "theirs": one.theirs, "remark": one.remark}
                for one in self.carried
            ],
            "without_equivalent": [{"theirs": one.theirs, "instead": one.instead} for one in self.lost],
            "traps": [{"what": one.what, "told": one.told} for one in self.traps],
            "unknown": [{"key": one.key, "value": one.value, "near": one.near} for one in self.unknown],
        }


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case tuple():
            return [str(part) for part in cast("tuple[object, ...]", value)]
        case _:
            return str(value)
