# huggingface_hub is typed in part only.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false
"""Owns fetching a data set from the hub: which commit is meant, and its files; turns each failure into a HubError.

What was fetched stays in the hub library's cache, so that another run, or one offline, needs no hub.
"""

import glob
import re
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import HfApi, constants, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import validate_repo_id

from lorasmith.atomic import naming_write_failures
from lorasmith.data.captions import tidy
from lorasmith.data.dataset_rows import DESCRIPTIONS, Location, files_of_config
from lorasmith.data.wording import shown
from lorasmith.errors import ConfigError, HubError

_COMMIT = re.compile(r"[0-9a-f]{40}")
# Its bases are OSError and the HTTPError of the library beneath, which is not the same one in all versions.
_UNREACHABLE: tuple[type[BaseException], ...] = (OSError, *HfHubHTTPError.__bases__)


@dataclass(frozen=True)
class HubDataset:
    """A data set of the hub at a revision (a branch, a tag or a commit; None: its main branch)."""

    id: str
    revision: str | None
    downloads: Path | None
    """Where its files are downloaded to; None is the hub library's own cache."""

    @property
    def is_pinned(self) -> bool:
        """Whether the revision is a commit, which always holds the same files."""
        return self.revision is not None and _COMMIT.fullmatch(self.revision) is not None


def check_hub_id(name: str) -> None:
    """Refuse (ConfigError) what is neither a file or folder that exists nor an id that the hub could have."""
    try:
        validate_repo_id(name)
    except HFValidationError as error:
        raise ConfigError(
            f"{shown(name)!r} is neither a folder that exists nor the id of a data set",
            where="data.dataset",
            remedy="An id looks like LinoyTsaban/3d_icon; a folder, like ./pictures.",
        ) from error


def pinned_commit(dataset: HubDataset) -> str:
    """The commit that the data set's revision is now; offline, what it was when it was last fetched."""
    if dataset.is_pinned and dataset.revision is not None:
        return dataset.revision
    return _descriptions(dataset).name


def download(dataset: HubDataset, *, config: str | None) -> Location:
    """Where the files of one config of the data set are; fetched where they are not here yet."""
    with _told_as_hub_errors(dataset):
        try:
            names = HfApi().list_repo_files(dataset.id, revision=dataset.revision, repo_type="dataset")
        except RepositoryNotFoundError:
            raise
        except _UNREACHABLE:
            return Location(_snapshot(dataset, None, only_local=True))
        files = files_of_config(names, _descriptions(dataset), config=config)
        wanted = [name for names in files.values() for name in names]
        return Location(_snapshot(dataset, [*wanted, *DESCRIPTIONS]), files)


def _descriptions(dataset: HubDataset) -> Path:
    """A snapshot's folder, named after its commit, with at least the files that describe the data set."""
    with _told_as_hub_errors(dataset):
        return _snapshot(dataset, list(DESCRIPTIONS))


def _snapshot(dataset: HubDataset, files: list[str] | None, *, only_local: bool = False) -> Path:
    patterns = None if files is None else [glob.escape(file) for file in files]
    with naming_write_failures(dataset.downloads or Path(constants.HF_HUB_CACHE)):
        folder = snapshot_download(
            dataset.id,
            repo_type="dataset",
            revision=dataset.revision,
            cache_dir=dataset.downloads,
            allow_patterns=patterns,
            local_files_only=only_local,
        )
    return Path(folder)


@contextmanager
def _told_as_hub_errors(dataset: HubDataset) -> Generator[None]:
    name = shown(dataset.id)
    try:
        yield
    except GatedRepoError as error:
        raise HubError(
            f"the data set {name!r} is open only to those who accepted its terms",
            where="data.dataset",
            remedy=f"Accept them on its page on the hub, and log in with `hf auth login`: {name}.",
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError(
            f"the hub has no data set {name!r}, or it is private",
            where="data.dataset",
            remedy="Check the spelling, or log in with `hf auth login`. A folder on this machine is written ./folder.",
        ) from error
    except RevisionNotFoundError as error:
        raise HubError(
            f"the data set {name!r} has no revision {shown(dataset.revision or 'main')!r}",
            where="data.dataset_revision",
            remedy="Name a branch, a tag or a commit that it has.",
        ) from error
    except _UNREACHABLE as error:
        raise HubError(
            f"the data set {name!r} could not be fetched: {shown(tidy(str(error)), limit=300)}",
            where="data.dataset",
            remedy=f"Check the connection (and HF_HUB_OFFLINE), fetch it where there is one with "
            f"`hf download --repo-type dataset {name}`, or name a local folder.",
        ) from error
