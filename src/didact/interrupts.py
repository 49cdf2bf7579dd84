"""Ctrl-C at a moment when it would do harm."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def interrupts_later() -> Iterator[None]:
    """Answer a Ctrl-C that comes inside the block at its end. Only the main thread hears it, so others do nothing."""
    heard: list[int] = []
    handler = signal.getsignal(signal.SIGINT)
    mine = threading.current_thread() is threading.main_thread() and callable(handler)
    if mine:
        signal.signal(signal.SIGINT, lambda number, _: heard.append(number))
    try:
        yield
    finally:
        if mine:
            signal.signal(signal.SIGINT, handler)
        if heard and callable(handler):
            handler(signal.SIGINT, None)
