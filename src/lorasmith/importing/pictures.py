"""Owns the folders of pictures that a peer's config names: how many pictures, of which sizes, with which captions.

lorasmith reads one folder whose pictures all have the same repeats. What a peer has in several folders is laid into one
by `gather`: links or copies, as often as their folders' repeats differ, with the captions the peer would have read.
"""

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from math import gcd
from pathlib import Path
from typing import Final, Literal

from lorasmith.atomic import naming_write_failures, write_text
from lorasmith.data.captions import tidy
from lorasmith.data.decode import probe
from lorasmith.data.read import picture_files
from lorasmith.data.wording import counted, shown
from lorasmith.errors import ConfigError, DataError
from lorasmith.importing.draft import Draft
from lorasmith.sizes import Size

_PIXELS: Final = 64_000_000
_MANY: Final = 100_000

CaptionSource = Literal["sidecar", "prompt", "file name"]


@dataclass(frozen=True)
class PictureFolder:
    """One folder of pictures as a peer reads it."""

    path: Path
    repeats: int
    """How often each picture is seen in an epoch."""
    prompt: str | None = None
    """The caption of pictures without one of their own."""
    captions: CaptionSource = "sidecar"
    suffix: str = ".txt"
    """Of the caption files that are read; others beside the pictures are not."""
    first_line: bool = False
    """Only a caption file's first line is read."""
    deep: bool = False
    """Folders inside are read as well."""
    swaps: Mapping[str, str] = field(default_factory=dict[str, str])
    """Texts in captions and what the peer puts in their place."""
    theirs: str = ""
    """What its config says."""

    def pictures(self) -> tuple[Path, ...]:
        """The pictures that are there; none when the folder is not on this machine."""
        if not self.path.is_dir():
            return ()
        folders = (
            [self.path, *(one for one in sorted(self.path.rglob("*")) if one.is_dir())] if self.deep else [self.path]
        )
        return tuple(file for folder in folders for file in picture_files(folder))

    def sizes(self) -> tuple[Size, ...]:
        """The sizes of the pictures that can be read."""
        return tuple(size for file in self.pictures() if (size := _size_of(file)) is not None)

    def caption_of(self, picture: Path) -> str:
        """The caption that the peer would train a picture with."""
        text = self.prompt or ""
        if self.captions == "file name":
            text = picture.stem
        elif self.captions == "sidecar":
            text = self._beside(picture) or text
        for old, new in self.swaps.items():
            text = text.replace(old, new)
        return text

    def _beside(self, picture: Path) -> str:
        file = picture.with_suffix(self.suffix)
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except FileNotFoundError:
            return ""
        except (UnicodeDecodeError, OSError) as error:
            raise DataError(f"the caption cannot be read: {error}", where=shown(file)) from error
        return tidy((lines[0] if lines else "") if self.first_line else " ".join(lines))


def settle(draft: Draft, folders: Sequence[PictureFolder], gather_to: Path | None) -> None:
    """Set where the pictures come from, and say what of it a single folder cannot be."""
    if not folders:
        draft.lose("no folder of pictures", "give one with --data.instance-images when you train")
        return
    if gather_to is not None:
        _settle_gathered(draft, folders, gather_to)
        return
    first, *more = folders
    draft.carry("data.instance_images", first.path, first.theirs)
    draft.carry("data.repeats", first.repeats, first.theirs)
    if first.prompt:
        draft.carry("data.instance_prompt", first.prompt, first.theirs)
    if not first.path.is_dir():
        draft.lose(first.theirs, f"the folder {shown(first.path)} is not there from here: correct data.instance_images")
    for other in more:
        draft.lose(other.theirs, f"{_ONE_FOLDER}; import with --gather FOLDER to lay them side by side")
    _warn_of_captions(draft, first)


def gather(folders: Sequence[PictureFolder], to: Path) -> int:
    """Lay the folders' pictures into `to` with their captions, and say how often each is to be repeated.

    Raises ConfigError when `to` holds anything already, DataError when a folder is not there.
    """
    if to.exists() and (not to.is_dir() or any(to.iterdir())):
        raise ConfigError(f"the folder {shown(to)} is not empty", where="--gather", remedy="Name a new folder.")
    for folder in folders:
        if not folder.pictures():
            raise DataError(f"there are no pictures in {shown(folder.path)}", remedy="Gather where the pictures are.")
    repeats = reduce(gcd, (folder.repeats for folder in folders))
    lines: list[str] = []
    with naming_write_failures(to):
        to.mkdir(parents=True, exist_ok=True)
        for folder in folders:
            for picture in folder.pictures():
                for _ in range(folder.repeats // repeats):
                    name = f"{len(lines):05d}-{picture.name}"
                    _lay(picture, to / name)
                    lines.append(json.dumps({"file_name": name, "text": folder.caption_of(picture)}))
    write_text(to / "metadata.jsonl", "\n".join(lines) + "\n")
    return repeats


_ONE_FOLDER: Final = "lorasmith reads one folder of pictures, and this one is left out"


def _settle_gathered(draft: Draft, folders: Sequence[PictureFolder], to: Path) -> None:
    repeats = gather(folders, to)
    named = "; ".join(folder.theirs for folder in folders)
    draft.carry("data.instance_images", to, named, remark="gathered, with the captions that would have been read")
    draft.carry("data.repeats", repeats, named)
    draft.avoid(
        "several folders with repeats of their own",
        f"{counted(len(folders), 'folder')} laid into {shown(to)}: a picture that is to be seen more often than others "
        f"lies there more often, and all are repeated {repeats} times",
    )


def _warn_of_captions(draft: Draft, folder: PictureFolder) -> None:
    """Captions that we would read and the peer does not, or the other way round."""
    pictures = folder.pictures()
    other = ".caption" if folder.suffix == ".txt" else ".txt"
    unread = sum(1 for picture in pictures if picture.with_suffix(other).is_file())
    read = sum(1 for picture in pictures if picture.with_suffix(folder.suffix).is_file())
    if unread and folder.captions == "sidecar":
        draft.avoid(
            "caption files of another suffix",
            f"{counted(unread, f'{other} file')} would not have been read ({folder.theirs}: "
            f"{folder.suffix}); lorasmith "
            "reads .txt and .caption, so remove those that are not meant, or import with --gather",
        )
    if folder.captions != "sidecar" and (read or folder.captions == "file name"):
        draft.lose(
            f"{folder.theirs}: captions from the {folder.captions}",
            "captions beside the pictures are read; import with --gather to have those that would have been read",
        )
    if folder.suffix not in (".txt", ".caption"):
        draft.lose(f"captions in {folder.suffix} files", "only .txt and .caption are read; import with --gather")
    if folder.deep and any(one.is_dir() for one in (folder.path.iterdir() if folder.path.is_dir() else ())):
        draft.lose(f"{folder.theirs}: folders inside", "only the folder itself is read; import with --gather")
    _warn_of_texts(draft, folder, pictures)


def _warn_of_texts(draft: Draft, folder: PictureFolder, pictures: Sequence[Path]) -> None:
    files = [file for picture in pictures if (file := picture.with_suffix(folder.suffix)).is_file()]
    texts = [file.read_text(encoding="utf-8-sig", errors="replace").strip() for file in files]
    several = sum(1 for text in texts if "\n" in text)
    if several and folder.first_line:
        draft.avoid(
            "captions of several lines",
            f"{counted(several, 'caption file')} with more than one line: only the first is read there, and all of "
            "them here; import with --gather to have the first alone",
        )
    for old, new in folder.swaps.items():
        if any(old in text for text in texts):
            draft.avoid(
                f"{old} in captions",
                f"it would have become {shown(new)!r}, and is read as it stands here; import with --gather to have it "
                "replaced",
            )


def _lay(picture: Path, place: Path) -> None:
    """A hard link where the disk can, else a copy; the picture itself is only read."""
    try:
        os.link(picture.resolve(), place)
    except OSError:
        shutil.copyfile(picture, place)


def _size_of(file: Path) -> Size | None:
    try:
        return probe(file, pixel_limit=_PIXELS)
    except DataError:
        return None
