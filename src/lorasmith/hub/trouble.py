# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# huggingface_hub's errors carry the HTTP library's responses, whose package differs between its major versions.
"""Owns what can go wrong with the hub, as sentences without secrets; decides nothing about what to do then."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from huggingface_hub import errors

from lorasmith.data.wording import shown
from lorasmith.errors import HubError

Kind = Literal["login", "permission", "missing", "refused", "passing", "unreachable"]

_TRY_LATER = "Try again later."


@dataclass(frozen=True)
class _Said:
    kind: Kind
    what: str
    remedy: str


class HubTroubleError(HubError):
    """The hub failed in a way that a person can do something about; `kind` says in which.

    `passing` and `unreachable` may be over in a moment; `retry_after` is how many seconds the hub asked to wait.
    """

    def __init__(self, kind: Kind, what: str, *, remedy: str, retry_after: float = 0.0) -> None:
        super().__init__(what, remedy=remedy)
        self.kind: Kind = kind
        self.retry_after = retry_after

    @property
    def what(self) -> str:
        """What is wrong, as half a sentence."""
        return self.problems[0].what

    @property
    def remedy(self) -> str:
        """What to do, as a sentence."""
        return self.problems[0].remedy or ""


# What the library lets through: its own errors and the HTTP library's, files that changed under it, storage that
# failed in a thread (RuntimeError), answers that are no JSON or lack what it expects (a proxy's page, an old mirror).
_LIBRARYS = (errors.HTTPError, OSError, RuntimeError, ValueError, LookupError, TypeError)
# Logins that are fetched anew when they are used; hub 1.x has neither.
_LOGINS: tuple[type[Exception], ...] = tuple(
    found for name in ("OIDCError", "DeviceCodeError") if (found := getattr(errors, name, None)) is not None
)


@contextmanager
def naming_trouble(repo: str, *, secret: str | None) -> Generator[None]:
    """Turn whatever the hub's library raises inside the block into HubTroubleError about `repo`, without the `secret`.

    The library's own exception is left out of the chain: its text may hold addresses that are signed for a while.
    """
    try:
        yield
    except HubTroubleError:
        raise
    except (*_LIBRARYS, *_LOGINS) as failure:
        trouble = _trouble(failure, repo, secret)
    else:
        return
    raise trouble from None


def _trouble(failure: BaseException, repo: str, secret: str | None) -> HubTroubleError:
    cause = _deepest(failure)
    response: Any = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    said = _of_status(status, repo) if isinstance(status, int) else _of_type(cause)
    details = str(getattr(cause, "server_message", None) or "") if response is not None else _details(cause, said)
    what = f"{said.what}: {_clean(details, secret)}" if details.strip() else said.what
    return HubTroubleError(said.kind, what, remedy=said.remedy, retry_after=_retry_after(response))


def _deepest(failure: BaseException) -> BaseException:
    """Storage fails in a thread, and its own failure is the cause of the one that comes out."""
    known = (errors.HTTPError, OSError)
    while not isinstance(failure, known) and failure.__cause__ is not None:
        failure = failure.__cause__
    return failure


def _of_status(status: int, repo: str) -> _Said:
    match status:
        case 401:
            remedy = "Log in again with `hf auth login --force`, or set HF_TOKEN to a token that is valid."
            return _Said("login", "the hub does not accept the login (401)", remedy)
        case 403:
            remedy = "Use a token that may write, or name a repository of your own."
            return _Said("permission", f"the login may not write to {repo} (403)", remedy)
        case 404:
            remedy = "Check the name and that the login may see it."
            return _Said("missing", f"the hub does not find {repo} (404)", remedy)
        case 409:
            return _Said("passing", f"{repo} was changed by somebody else at the same time (409)", _TRY_LATER)
        case 429:
            return _Said("passing", "the hub got too many requests (429)", _TRY_LATER)
        case 408 | 504:
            return _Said("passing", f"the hub did not answer in time ({status})", _TRY_LATER)
        case _ if status >= 500:
            return _Said("passing", f"the hub has trouble of its own ({status})", _TRY_LATER)
        case _:
            return _Said("refused", f"the hub refused it ({status})", "Do what it says, or ask there.")


def _of_type(failure: BaseException) -> _Said:
    names = {base.__name__ for base in type(failure).__mro__}
    if "LocalTokenNotFoundError" in names:
        return _Said("login", "nobody is logged in to the hub", "Log in with `hf auth login`, or set HF_TOKEN.")
    if "OfflineModeIsEnabled" in names:
        return _Said("unreachable", "HF_HUB_OFFLINE is set", "Unset it.")
    if names & {"TimeoutException", "TimeoutError"}:
        return _Said("unreachable", "the hub did not answer in time", _TRY_LATER)
    if names & {"TransportError", "ConnectionError"}:
        return _Said("unreachable", "the hub could not be reached", "Check the connection and HF_ENDPOINT.")
    if names & {"OIDCError", "DeviceCodeError"}:
        return _Said("login", "the login could not be renewed", "Log in again with `hf auth login --force`.")
    return _Said("refused", "the upload failed", _TRY_LATER)


def _details(failure: BaseException, said: _Said) -> str:
    """What the failure itself says, where our sentence does not say it all."""
    return str(failure) or type(failure).__name__ if said.kind in ("refused", "unreachable") else ""


def _clean(text: str, secret: str | None) -> str:
    """One short line that is harmless to show, without the secret even where a server repeats it."""
    hidden = text.replace(secret, "***") if secret else text
    return shown(" ".join(hidden.split()), limit=200).rstrip(".")


def _retry_after(response: Any) -> float:
    text = str(response.headers.get("retry-after", "")) if response is not None else ""
    return float(text) if text.isdecimal() else 0.0
