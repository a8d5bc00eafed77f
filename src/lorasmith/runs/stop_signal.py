"""Owns what Ctrl-C and SIGTERM mean to a run: the first asks it to finish the step, the second leaves at once."""

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """Whether somebody asked to stop."""

    def __init__(self) -> None:
        self._asked = threading.Event()

    def is_set(self) -> bool:
        """Whether the run should stop after the step it is in."""
        return self._asked.is_set()

    def ask(self) -> None:
        """Ask from inside the program."""
        self._asked.set()

    @contextmanager
    def listening(self) -> Generator[None]:
        """Take the signals inside the block (in the main thread; elsewhere only `ask` works)."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        self.ask()
        # A second signal does what it does to any program: it ends this one now.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
