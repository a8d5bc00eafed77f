# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false
# huggingface_hub is only partly typed, and says nowhere in public which client it makes.
"""Owns how the hub's library is used: with a login, with time limits, and without bars and log lines of its own."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from huggingface_hub import HfApi, get_token, set_client_factory
from huggingface_hub.utils import _http, are_progress_bars_disabled, disable_progress_bars, enable_progress_bars
from huggingface_hub.utils import logging as hub_logging
from pydantic import SecretStr

from lorasmith import __version__
from lorasmith.hub.trouble import HubTroubleError, naming_trouble

Result = TypeVar("Result")

_LONGEST_WAIT = 60.0


@dataclass(frozen=True)
class TimeLimits:
    """Seconds to wait for a connection and for an answer. The library itself waits for ever."""

    connect: float
    answer: float


# A commit is answered when the hub has checked every file; a question is answered at once.
FOR_UPLOADS = TimeLimits(connect=20, answer=300)
FOR_QUESTIONS = TimeLimits(connect=5, answer=10)
WAITS = (1.0, 4.0)


@dataclass(frozen=True)
class Hub:
    """The hub as one login sees it; `repo` is what its troubles are about."""

    api: HfApi
    secret: str | None

    @contextmanager
    def asked_about(self, repo: str) -> Generator[None]:
        """Failures inside the block are HubTroubleError about `repo`."""
        with naming_trouble(repo, secret=self.secret):
            yield


@contextmanager
def hub(token: SecretStr | None, limits: TimeLimits) -> Generator[Hub]:
    """The hub inside the block, with this token or the machine's login. HubTroubleError when there is none.

    `HF_ENDPOINT`, `HF_TOKEN`, `HF_HUB_OFFLINE` and the file that `hf auth login` writes are the library's own business.
    """
    with naming_trouble("the hub", secret=None):
        secret = token.get_secret_value() if token else get_token()
    if not secret:
        raise HubTroubleError(
            "login", "nobody is logged in to the hub", remedy="Log in with `hf auth login`, or set HF_TOKEN."
        )
    with _time_limits(limits), _quiet():
        yield Hub(HfApi(token=secret, library_name="lorasmith", library_version=__version__), secret)


def patiently(work: Callable[[], Result]) -> Result:
    """The work, tried again after a while where the trouble may pass; the library retries parts of it by itself."""
    for wait in WAITS:
        try:
            return work()
        except HubTroubleError as trouble:
            if trouble.kind not in ("passing", "unreachable"):
                raise
            time.sleep(min(_LONGEST_WAIT, max(wait, trouble.retry_after)))
    return work()


@contextmanager
def _time_limits(limits: TimeLimits) -> Generator[None]:
    before: Any = getattr(_http, "_GLOBAL_CLIENT_FACTORY", _http.default_client_factory)

    def limited() -> Any:
        client = before()
        client.timeout = (limits.connect, limits.answer, limits.answer, limits.answer)
        return client

    set_client_factory(limited)
    try:
        yield
    finally:
        set_client_factory(before)


@contextmanager
def _quiet() -> Generator[None]:
    """The library's warnings name addresses that are signed for a while, and its bars would lie over ours."""
    verbosity, had_bars = hub_logging.get_verbosity(), not are_progress_bars_disabled()
    hub_logging.set_verbosity_error()
    disable_progress_bars()
    try:
        yield
    finally:
        hub_logging.set_verbosity(verbosity)
        if had_bars:
            enable_progress_bars()
