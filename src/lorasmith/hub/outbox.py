"""Owns the note of what is still to be uploaded to where; it holds hashes and names, never a login."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from lorasmith.atomic import write_json
from lorasmith.errors import DataError
from lorasmith.hub.shared_files import SharedFile


class WaitingFile(BaseModel):
    """One file that has not arrived."""

    model_config = ConfigDict(frozen=True)

    name: str
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Outbox(BaseModel):
    """What is still to be uploaded, to which repository, and why it has not been."""

    model_config = ConfigDict(frozen=True)

    version: Literal[1] = 1
    repo: str
    private: bool = False
    files: tuple[WaitingFile, ...] = ()
    reason: str = ""


def waiting(files: Sequence[SharedFile]) -> tuple[WaitingFile, ...]:
    """Files as an outbox names them."""
    return tuple(WaitingFile(name=file.name, size=file.size, sha256=file.sha256) for file in files)


def read_outbox(path: Path) -> Outbox | None:
    """The note; None when everything has arrived or nothing was to be sent. DataError when it cannot be read."""
    try:
        return Outbox.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as invalid:
        raise DataError(
            f"{path} is not an outbox that lorasmith can read: {invalid.errors()[0]['msg']}",
            remedy="Remove the file; `lorasmith push` asks the hub itself what is missing.",
        ) from invalid


def write_outbox(path: Path, outbox: Outbox) -> None:
    """Write the note, whole or not at all. ResourceError when the disk is full."""
    write_json(path, outbox.model_dump(mode="json"))
