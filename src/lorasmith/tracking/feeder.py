"""Owns the thread that feeds one tracker: whatever the tracker does there, the run neither waits for it nor fails."""

import queue
import re
import threading
from collections.abc import Callable

from lorasmith.tracking.concealing import without_secrets

_LIMIT = 10_000
"""Calls that may wait; a tracker that is further behind has hung."""
_PATIENCE_SECONDS = 60.0
"""How long the end of a run waits for a tracker."""

Call = Callable[[], str | None]


class Feeder:
    """Calls what it is given one after the other on a thread of its own, until one fails."""

    def __init__(self, name: str, *, limit: int = _LIMIT, patience_seconds: float = _PATIENCE_SECONDS) -> None:
        self._name = name
        self._patience = patience_seconds
        self._limit = limit
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._is_over = False
        self._ending = threading.Lock()
        # A daemon: a tracker that hangs must not keep the process alive.
        self._thread = threading.Thread(target=self._work, name=f"tracker {name}", daemon=True)
        self._thread.start()

    def feed(self, call: Call) -> None:
        """Have `call` made some time; what it returns is said. Never waits; does nothing once the tracker is over."""
        if self._is_over:
            return
        if self._calls.qsize() >= self._limit:
            self._give_up(f"it does not answer, and {self._limit} things to show wait for it")
            return
        self._calls.put(call)

    def finish(self, last: Call) -> None:
        """Make `last` the last call and wait for it, but not for long."""
        self.feed(last)
        if self._is_over:
            return
        self._calls.put(None)
        self._thread.join(self._patience)
        if self._thread.is_alive():
            self._give_up(f"it did not finish within {self._patience:g} s")

    def said(self) -> tuple[str, ...]:
        """What the calls returned since the last time, and, once, why the tracker is over before its time."""
        found = list[str]()
        while not self._said.empty():
            found.append(self._said.get())
        return tuple(found)

    def _work(self) -> None:
        try:
            while (call := self._calls.get()) is not None:
                if text := call():
                    self._said.put(text)
        # The tracker's code is not ours, and no failure of it, whatever its kind, may end a run.
        except (Exception, SystemExit) as failure:  # noqa: BLE001
            self._give_up(_one_line(failure))

    def _give_up(self, reason: str) -> None:
        with self._ending:
            if self._is_over:
                return
            self._is_over = True
        self._said.put(f"{self._name} shows no more of this run: {reason}. metrics.jsonl has everything.")


def _one_line(failure: BaseException) -> str:
    text = re.sub(r"\s+", " ", without_secrets(str(failure))).strip().rstrip(".")
    return f"{type(failure).__name__}: {text[:300]}" if text else type(failure).__name__
