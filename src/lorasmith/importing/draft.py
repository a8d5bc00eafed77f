"""Owns collecting what an import finds, and turning it into a config that has been checked; reads no file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from lorasmith.config.explain import explain
from lorasmith.config.origin import Origin
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError
from lorasmith.importing.keys import Keys, as_text
from lorasmith.importing.result import Carried, Imported, Lost, Peer, Trap, Unknown

_OFF = frozenset({"false", "", "[]", "{}", "off", "never", "none", "0", "0.0"})


@dataclass
class Draft:
    """An import as it comes about."""

    peer: Peer
    _carried: dict[str, Carried] = field(default_factory=dict[str, Carried])
    _lost: list[Lost] = field(default_factory=list[Lost])
    _traps: list[Trap] = field(default_factory=list[Trap])

    def carry(self, path: str, value: object, theirs: str, *, remark: str = "") -> None:
        """Set an option of ours."""
        self._carried[path] = Carried(path, _writable(value), theirs, remark)

    def lose(self, theirs: str, instead: str) -> None:
        """Say that something has no equal, once, and what happens instead."""
        lost = Lost(theirs, instead)
        if lost not in self._lost:
            self._lost.append(lost)

    def avoid(self, what: str, told: str) -> None:
        """Say which difference between the programs was seen to."""
        trap = Trap(what, told)
        if trap not in self._traps:
            self._traps.append(trap)

    def value(self, path: str) -> object:
        """What was carried to an option; None where nothing was."""
        return self._carried[path].value if path in self._carried else None

    def without_effect(self, keys: Keys, reasons: Mapping[str, str]) -> None:
        """Take keys that are known and have no equal; `reasons` maps names, separated by blanks, to what is instead.

        What is switched off, or has an empty reason because nothing that is learnt depends on it, is not worth a word.
        """
        for names, instead in reasons.items():
            for name in names.split():
                off = not keys.has(name) or str(keys.take(name)).lower() in _OFF
                if instead and not off:
                    self.lose(keys.told(name), instead)

    def finish(self, files: Sequence[Path | str], unknown: Sequence[Unknown]) -> Imported:
        """The result, its config checked. Raises ConfigError naming what the peer said that cannot be ours."""
        nested: dict[str, dict[str, object]] = {}
        for one in self._carried.values():
            section, _, name = one.path.partition(".")
            nested.setdefault(section, {})[name] = one.value
        try:
            config = TrainConfig.model_validate(nested)
        except ValidationError as error:
            origins = {one.path: Origin("file", f"{self.peer}: {one.theirs}") for one in self._carried.values()}
            raise ConfigError.of(list(explain(error, origins))) from error
        return Imported(
            peer=self.peer,
            files=tuple(as_text(str(file), limit=300) for file in files),
            config=config,
            carried=tuple(self._carried.values()),
            lost=tuple(self._lost),
            traps=tuple(self._traps),
            unknown=tuple(unknown),
        )


def _writable(value: object) -> object:
    """Paths as text, and no half characters, which no file can hold."""
    return str(value).encode("utf-8", "replace").decode() if isinstance(value, Path | str) else value
