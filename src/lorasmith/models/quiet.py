"""Owns keeping transformers' progress bars back while weights are opened; opens nothing."""

from collections.abc import Generator
from contextlib import contextmanager

from transformers.utils import logging as transformers_logging


@contextmanager
def quiet_loading() -> Generator[None]:
    """No progress bars of transformers inside the block: a command has its own. They are as they were behind it."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()
