# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# huggingface_hub is only partly typed.
"""Owns bringing a repository to hold given files: asks what it lacks, sends that in one commit, and asks again."""

from collections.abc import Sequence
from dataclasses import dataclass

from huggingface_hub import CommitOperationAdd, RepoFile

from lorasmith.events import Emit, WorkDone
from lorasmith.hub.client import Hub
from lorasmith.hub.shared_files import SharedFile
from lorasmith.hub.trouble import HubTroubleError

TASK = "uploading"


@dataclass(frozen=True)
class Destination:
    """A repository, `user/name`, and whether it must be private."""

    repo: str
    private: bool


def ensure_repository(hub: Hub, to: Destination) -> str:
    """Make the repository if it is not there; its address. Refuses one that is public when private was asked for."""
    with hub.asked_about(to.repo):
        url = str(hub.api.create_repo(to.repo, private=to.private or None, exist_ok=True))
        is_public = to.private and not hub.api.model_info(to.repo).private
    if is_public:  # the hub says nothing when it is asked to make a private one and finds a public one
        raise HubTroubleError(
            "refused",
            f"{to.repo} is there already, and it is public",
            remedy="Make it private on the hub, name another one, or leave `private` out; nothing was uploaded.",
        )
    return url


def missing_files(hub: Hub, to: Destination, files: Sequence[SharedFile]) -> tuple[SharedFile, ...]:
    """The files that the repository lacks or holds otherwise."""
    return _missing_at(hub, to, files, revision=None)


def send(hub: Hub, to: Destination, files: Sequence[SharedFile], emit: Emit) -> None:
    """Send the files, each to where its size belongs, and commit them together; what was stored before is kept.

    A file that the hub has stored but not committed, as after a crash, is not sent a second time.
    """
    additions = [CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.path) for file in files]
    with hub.asked_about(to.repo):
        emit(WorkDone(TASK, 0, len(files)))
        for done, addition in enumerate(additions, start=1):
            hub.api.preupload_lfs_files(to.repo, additions=[addition], free_memory=False)
            emit(WorkDone(TASK, done, len(files)))
        commit = hub.api.create_commit(to.repo, additions, commit_message="Upload with lorasmith")
    lost = _missing_at(hub, to, files, revision=commit.oid)
    if lost:
        raise HubTroubleError(
            "refused",
            f"{to.repo} took the upload and still lacks {', '.join(file.name for file in lost)}",
            remedy="A .gitignore in the repository may leave them out; remove it there.",
        )


def _missing_at(
    hub: Hub, to: Destination, files: Sequence[SharedFile], *, revision: str | None
) -> tuple[SharedFile, ...]:
    with hub.asked_about(to.repo):
        found = hub.api.get_paths_info(to.repo, [file.name for file in files], revision=revision)
    there = {entry.path: entry for entry in found if isinstance(entry, RepoFile)}
    return tuple(file for file in files if not _is_same(there.get(file.name), file))


def _is_same(remote: RepoFile | None, file: SharedFile) -> bool:
    """Large files are known by their sha256, small ones by git's own hash."""
    if remote is None or remote.size != file.size:
        return False
    return remote.lfs.sha256 == file.sha256 if remote.lfs else remote.blob_id == file.git_hash()
