# pyright: reportUnknownVariableType=false
# huggingface_hub's download functions are only partly typed.
"""Owns fetching chosen files of a hub repository into the hub's cache, or finding them there; fetches no pickles."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from lorasmith.errors import HubError


@dataclass(frozen=True)
class HubRepository:
    """A repository by its id, the revision wanted (None: its main branch), and the option that named it."""

    name: str
    revision: str | None
    where: str


def looks_like_hub_id(text: str) -> bool:
    """Whether a text may be `owner/name`."""
    return text.count("/") == 1 and not text.startswith((".", "/", "~", "\\")) and not text.endswith("/")


def fetch(repository: HubRepository, patterns: Sequence[str]) -> Path:
    """The folder of the hub's cache with the files that match; asks `HF_ENDPOINT`, or nobody with `HF_HUB_OFFLINE`.

    HubError when there is no such repository or revision, when it is closed to us, or when it cannot be reached.
    """
    try:
        return Path(snapshot_download(repository.name, revision=repository.revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        raise _refusal(
            repository, "is gated, and this machine has no access to it",
            f"Accept its terms at {constants.ENDPOINT}/{repository.name} and log in with `hf auth login`.",
        ) from error  # fmt: skip
    except RevisionNotFoundError as error:
        raise HubError(
            f"{repository.name!r} has no revision {repository.revision!r}",
            where=repository.where.replace(".base", ".revision"),
            remedy="Name a branch, a tag or a commit of it.",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the hub has no {repository.name!r}", where=repository.where,
            remedy="Check the spelling, or log in with `hf auth login` if it is private.",
        ) from error  # fmt: skip
    except HFValidationError as error:
        raise _refusal(
            repository, "is no name of a hub repository", "Give one like `owner/name`, or a path."
        ) from error
    except LocalEntryNotFoundError as error:
        return _whatever_is_there(repository, error)
    except (HfHubHTTPError, OSError) as error:
        raise _refusal(
            repository, f"could not be fetched: {_first_line(error)}", "Check the connection, or give a local folder."
        ) from error


def _whatever_is_there(repository: HubRepository, error: LocalEntryNotFoundError) -> Path:
    """The part of a repository that other programs fetched, which may be all that is needed; else a refusal."""
    partial = getattr(error, "snapshot_path", None)
    if isinstance(partial, str) and os.path.isdir(partial):
        return Path(partial)
    if constants.is_offline_mode():
        raise _refusal(
            repository,
            "is not in the hub's cache, and HF_HUB_OFFLINE forbids to fetch it",
            f"Fetch it once with `hf download {repository.name}`, or unset HF_HUB_OFFLINE.",
        ) from error
    raise _refusal(
        repository,
        f"could not be fetched: {_first_line(error)}",
        f"Check the connection to {constants.ENDPOINT}, or give a local folder.",
    ) from error


def _refusal(repository: HubRepository, what: str, remedy: str) -> HubError:
    return HubError(f"{repository.name!r} {what}", where=repository.where, remedy=remedy)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
