"""Turning SIGTERM and SIGINT into a request that the training loop answers between two steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets inside the block, once; a second SIGINT interrupts at once as usual.

    Outside the main thread signals cannot be caught, and the event is never set.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def ask(number: int, frame: object) -> None:
        asked.set()
        signal.signal(number, before[signal.Signals(number)])

    # The command would end some seconds after Ctrl-C; saving may take longer.
    listening = signal.set_wakeup_fd(-1)
    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        signal.set_wakeup_fd(listening)
        for number, handler in before.items():
            signal.signal(number, handler)
