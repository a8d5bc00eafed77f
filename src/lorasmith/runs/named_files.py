"""Owns finding LoRAs and embeddings by name in folders, as A1111 and ComfyUI do; a name never leaves its folder.

A name is looked up among the files that are there and never made a path of, so `../` in it finds nothing.
"""

import difflib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from lorasmith.data.wording import listed, shown
from lorasmith.errors import ConfigError

FileKind = Literal["LoRA", "embedding"]

_ENDINGS: Final = (".safetensors", ".pt", ".bin", ".ckpt")
"""Pickles are found as well, so that naming one says what it is; none is ever opened."""
_IN_PROGRAMS: Final[Mapping[FileKind, tuple[str, ...]]] = {
    "LoRA": ("models/Lora", "models/loras", "models/LyCORIS"),
    "embedding": ("embeddings", "models/embeddings"),
}
"""Where A1111, Forge and ComfyUI keep them."""
_OPTIONS: Final[Mapping[FileKind, str]] = {"LoRA": "--lora-folder", "embedding": "--embedding-folder"}


@dataclass(frozen=True)
class NamedFiles:
    """The files of one kind that can be named: those given themselves, then those in folders and below."""

    kind: FileKind
    given: tuple[Path, ...]
    folders: tuple[Path, ...]

    @classmethod
    def of(
        cls, kind: FileKind, *, given: Iterable[Path] = (), folders: Iterable[Path] = (), program: Path | None = None
    ) -> "NamedFiles":
        """Files, folders, and a program's own folders. ConfigError for a folder that is not there or holds neither."""
        places = [*folders, *(_of_program(kind, program) if program else [])]
        for place in places:
            if not place.is_dir():
                raise ConfigError(f"there is no folder {shown(place)}", where=_OPTIONS[kind])
        return cls(kind, tuple(dict.fromkeys(given)), tuple(places))

    def find(self, name: str) -> Path:
        """The file of a name: with or without its ending, with folders in front (`styles/y2k`) or without.

        ConfigError, with names that are near, when none is called so, or when several are.
        """
        wanted = name.replace("\\", "/")
        for names in self._by_name:
            found = names.get(wanted.lower(), [])
            exact = [path for path in found if wanted in _names_of(path, None)] or found
            if len(exact) > 1:
                raise ConfigError(
                    f"there are {len(exact)} files that {shown(name)!r} may mean: {listed(exact)}",
                    where=self._where,
                    remedy="Name it with its folder, such as `folder/name`, or rename one.",
                )
            if exact:
                return exact[0]
        raise ConfigError(f"there is no {self.kind} called {shown(name)!r}", where=self._where, remedy=self._near(name))

    @property
    def words(self) -> dict[str, Path]:
        """What a prompt may call each file by its bare name; of two files called the same none."""
        found: dict[str, Path] = {}
        for names in reversed(self._by_name):
            found |= {name: paths[0] for name, paths in names.items() if len(paths) == 1 and "/" not in name}
        return {name: path for name, path in found.items() if not name.endswith(_ENDINGS)}

    @cached_property
    def _by_name(self) -> tuple[Mapping[str, list[Path]], Mapping[str, list[Path]]]:
        """What is given comes first; names in small letters, since some file systems do not tell case apart."""
        return _index((path, None) for path in self.given), _index(
            (path, folder) for folder in self.folders for path in _files_below(folder)
        )

    @property
    def _where(self) -> str:
        places = [shown(folder) for folder in self.folders]
        return f"prompt; looked in {', '.join(places)}" if places else "prompt"

    def _near(self, name: str) -> str:
        stems = sorted({path.stem for names in self._by_name for paths in names.values() for path in paths})
        if not stems:
            return f"Give its file, or the folder it lies in ({_OPTIONS[self.kind]})."
        near = difflib.get_close_matches(name.rpartition("/")[2], stems, n=3, cutoff=0.5)
        return f"Did you mean {listed(near)}?" if near else f"There are {listed(stems)}."


def _of_program(kind: FileKind, program: Path) -> list[Path]:
    found = {place.resolve(): place for name in _IN_PROGRAMS[kind] if (place := program / name).is_dir()}
    if not found:
        raise ConfigError(
            f"{shown(program)} holds none of {', '.join(_IN_PROGRAMS[kind])}",
            where="--program",
            remedy="Name the folder A1111, Forge or ComfyUI was installed into.",
        )
    return list(found.values())


def _index(files: Iterable[tuple[Path, Path | None]]) -> dict[str, list[Path]]:
    names: dict[str, list[Path]] = {}
    for path, folder in files:
        for name in _names_of(path, folder):
            names.setdefault(name.lower(), []).append(path)
    return names


def _names_of(path: Path, folder: Path | None) -> set[str]:
    """`y2k`, `y2k.safetensors`, and with the folders between, `styles/y2k`."""
    below = path.relative_to(folder).as_posix() if folder is not None else path.name
    return {path.stem, path.name, below, below.removesuffix(path.suffix)}


def _files_below(folder: Path) -> Iterator[Path]:
    """Weights files in a folder and all below it, in order; links to folders are followed, none twice."""
    seen = set[str]()
    for place, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(place)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders.sort()
        yield from (Path(place, name) for name in sorted(names) if name.endswith(_ENDINGS))
