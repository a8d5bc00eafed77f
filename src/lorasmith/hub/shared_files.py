"""Owns what of an export is shared: the files its manifest names and the manifest, and nothing else in the folder."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from lorasmith.errors import DataError
from lorasmith.export_manifest import FILE_NAME, read_manifest, sha256_of


@dataclass(frozen=True)
class SharedFile:
    """One file as it is now."""

    path: Path
    size: int
    sha256: str

    @property
    def name(self) -> str:
        """What it is called on the hub."""
        return self.path.name

    def git_hash(self) -> str:
        """What git, and so the hub, knows a small file by."""
        content = self.path.read_bytes()
        return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def shared_files(export_folder: Path) -> tuple[SharedFile, ...]:
    """Every file of an export that is shared; DataError when one is missing or its weights are not those exported.

    The card and its pictures may have been changed since: they are written for people, and people edit them.
    """
    manifest = read_manifest(export_folder)
    if not manifest.files:
        raise DataError(
            f"the {FILE_NAME} in {export_folder} does not say which files are shared",
            remedy="It was written by another program or an older lorasmith; upload the folder with `hf upload`.",
        )
    files = tuple(_as_it_is(export_folder / name) for name in (*manifest.files, FILE_NAME))
    changed = [
        file.name
        for file in files
        if file.name.endswith(".safetensors") and file.sha256 != manifest.files.get(file.name)
    ]
    if changed:
        raise DataError(
            f"{', '.join(changed)} in {export_folder} changed since the export",
            remedy="Nothing was uploaded; `lorasmith verify` says what the files hold now.",
        )
    return files


def _as_it_is(path: Path) -> SharedFile:
    """A link is refused: it may lead anywhere."""
    if path.is_symlink() or not path.is_file():
        raise DataError(
            f"the export in {path.parent} lacks {path.name}, which its {FILE_NAME} names"
            + (" (there is a link instead of a file)" if path.is_symlink() else ""),
            remedy="Put the file back, or export again.",
        )
    return SharedFile(path, path.stat().st_size, sha256_of(path))
