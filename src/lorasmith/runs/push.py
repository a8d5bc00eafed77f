"""Owns uploading a run's export: before the training whether it can work, after it the upload, later what is missing.

A run never fails because of the hub: its exports are whole before anything is sent. What is still to be sent stands in
the run folder's outbox from then on until the hub holds all of it.
"""

import shlex
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from lorasmith.config.hub import repo_name_from, repo_problem
from lorasmith.config.train import TrainConfig
from lorasmith.errors import ConfigError, HubError, StoppedError
from lorasmith.events import Emit, Notice, PushDone, ignore
from lorasmith.hub.account import Account, read_account
from lorasmith.hub.client import FOR_QUESTIONS, FOR_UPLOADS, Hub, hub, patiently
from lorasmith.hub.outbox import Outbox, read_outbox, waiting, write_outbox
from lorasmith.hub.shared_files import SharedFile, shared_files
from lorasmith.hub.trouble import HubTroubleError
from lorasmith.hub.upload import Destination, ensure_repository, missing_files, send
from lorasmith.run_folder import RunFolder
from lorasmith.runs.stored_config import read_config


@dataclass(frozen=True)
class Wish:
    """Where to push to; None and False leave it to the outbox and the run's own options."""

    repo: str | None = None
    private: bool = False


@dataclass(frozen=True)
class PushResult:
    """Where an export is now, which of its files were sent, and which had been there."""

    repo: str
    url: str
    sent: tuple[str, ...]
    already_there: tuple[str, ...]


def push(path: Path, wish: Wish | None = None, *, emit: Emit = ignore, token: SecretStr | None = None) -> PushResult:
    """Bring the hub to hold a run's export, sending only what it lacks; doing it twice is harmless.

    HubError when it cannot be done now: the outbox keeps what is missing, and the next push goes on. DataError when
    there is no whole export, BusyError while the run is being worked on.
    """
    folder = RunFolder(path.expanduser().resolve())
    folder.refuse_if_not_a_run()
    wish = wish or Wish()
    problem = repo_problem(wish.repo) if wish.repo is not None else None
    if problem:
        raise ConfigError(f"the repository is {wish.repo!r} and must be {problem}", where="--repo")
    with folder.claim(fresh=False):
        outbox = _write_outbox(folder, wish, read_config(folder))
        with _how_to_go_on(folder, outbox.repo, is_end_of_run=False):
            return _push(folder, outbox, emit, token)


def refuse_hopeless_push(config: TrainConfig, emit: Emit, token: SecretStr | None, *, resumed: bool) -> None:
    """Before hours of training: HubError when nobody is logged in or the login may not write.

    What may be otherwise by the time of the upload is only told: a hub that cannot be reached, or somebody else's
    repository. So is everything when a run is `resumed`, whose options can no longer be changed.
    """
    if not config.hub.push:
        return
    repo = _named_in(config)
    try:
        with hub(token, FOR_QUESTIONS) as asked:
            account = read_account(asked)
            _refuse_reader(account, repo)
    except HubTroubleError as trouble:
        if trouble.kind in ("login", "permission") and not resumed:
            raise HubError(
                f"the exports are to be uploaded to {repo}, and {trouble.what}",
                where="hub.push",
                remedy=f"{trouble.remedy} Or train without it: `lorasmith push` uploads a finished run at any time.",
            ) from None
        emit(Notice(f"the upload to {repo} may fail, since {trouble.what}; training goes on. {trouble.remedy}"))
    else:
        if not account.may_own(repo):
            emit(Notice(f"the upload to {repo} may fail: {account.name} is logged in and is no member there"))


def leave_outbox(config: TrainConfig, folder: RunFolder) -> None:
    """Note what is to be uploaded as soon as a run's exports are whole, if that was asked for."""
    if config.hub.push:
        _write_outbox(folder, Wish(), config)


def push_finished_run(folder: RunFolder, emit: Emit, token: SecretStr | None, *, stop_asked: bool = False) -> None:
    """Upload what the outbox of a run that is done names, if there is one."""
    outbox = read_outbox(folder.outbox_file)
    if outbox is None:
        return
    with _how_to_go_on(folder, outbox.repo, is_end_of_run=True):
        if stop_asked:
            raise KeyboardInterrupt
        _push(folder, outbox, emit, token)


def _push(folder: RunFolder, outbox: Outbox, emit: Emit, token: SecretStr | None) -> PushResult:
    """Send what is missing, as often as that is worth trying, and remove the outbox."""
    files = shared_files(folder.export)
    try:
        with hub(token, FOR_UPLOADS) as asked:
            result = patiently(lambda: _attempt(asked, folder, outbox, files, emit))
    except HubTroubleError as trouble:
        last = read_outbox(folder.outbox_file) or outbox
        write_outbox(folder.outbox_file, last.model_copy(update={"reason": trouble.what}))
        raise
    folder.outbox_file.unlink(missing_ok=True)
    emit(PushDone(result.repo, result.url, len(result.sent), len(result.already_there)))
    return result


def _attempt(asked: Hub, folder: RunFolder, outbox: Outbox, files: tuple[SharedFile, ...], emit: Emit) -> PushResult:
    """Ask, note, send: after any failure the same again does only what is left."""
    account = read_account(asked)
    _refuse_reader(account, outbox.repo)
    to = Destination(account.full_name(outbox.repo), outbox.private)
    url = ensure_repository(asked, to)
    missing = missing_files(asked, to, files)
    write_outbox(folder.outbox_file, outbox.model_copy(update={"repo": to.repo, "files": waiting(missing)}))
    if missing:
        send(asked, to, missing, emit)
    sent = tuple(file.name for file in missing)
    return PushResult(to.repo, url, sent, tuple(file.name for file in files if file.name not in sent))


def _write_outbox(folder: RunFolder, wish: Wish, config: TrainConfig) -> Outbox:
    """What is to be sent to where: as wished, else as noted before, else as the run's options say."""
    files = shared_files(folder.export)
    before = read_outbox(folder.outbox_file)
    outbox = Outbox(
        repo=wish.repo or (before.repo if before else _named_in(config)),
        private=wish.private or (before.private if before else config.hub.private),
        files=waiting(files),
    )
    write_outbox(folder.outbox_file, outbox)
    return outbox


def _named_in(config: TrainConfig) -> str:
    return config.hub.repo or repo_name_from(config.output.name or config.output.folder.name)


def _refuse_reader(account: Account, repo: str) -> None:
    if not account.may_write:
        raise HubTroubleError(
            "permission",
            f"the token of {account.name} can only read, and {repo} is to be written",
            remedy="Log in with a token that may write: `hf auth login --force`, or HF_TOKEN.",
        )


@contextmanager
def _how_to_go_on(folder: RunFolder, repo: str, *, is_end_of_run: bool) -> Generator[None]:
    """Every failure of an upload says what is safe and which command completes it."""
    command = f"`lorasmith push {shlex.quote(str(folder.path))}`"
    done = f"the run is done and its exports are whole in {folder.export}, " if is_end_of_run else ""
    try:
        yield
    except HubTroubleError as trouble:
        raise HubError(
            f"{done}{'but ' if done else ''}not everything was uploaded to {repo}: {trouble.what}",
            remedy=f"{trouble.remedy} {command} completes it.",
        ) from None
    except KeyboardInterrupt:
        raise StoppedError(
            f"{done}{'and ' if done else ''}the upload to {repo} was stopped", remedy=f"{command} completes it."
        ) from None
