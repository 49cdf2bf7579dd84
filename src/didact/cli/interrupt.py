"""Ctrl-C ends a command, also where Python cannot: inside a long kernel, or where a library swallows the interrupt.

KeyboardInterrupt is raised between two bytecodes of the main thread. A kernel that runs for a minute has none. What is
on disk is whole wherever a process ends, so ending it from outside is safe.
"""

from __future__ import annotations

import builtins
import importlib
import os
import select
import signal
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

GRACE = 10.0
"""Seconds that a command has to end by itself: to let workers go and to delete what is half-written."""

EXIT_CODE = 130
TOLD = "didact: interrupted; the same command goes on from what is complete"


def end_for_sure(grace: float = GRACE) -> None:
    """From now on end this process some time after Ctrl-C, or at the second one, unless it has ended before.

    Who needs longer, as training does to save, takes the descriptor away meanwhile (`signal.set_wakeup_fd`).
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    # The system's handler writes the number of each signal there at once, whatever the main thread does.
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, grace), daemon=True).start()


def _watch(reading: int, grace: float) -> None:
    while os.read(reading, 1)[0] != signal.SIGINT:
        pass
    # The second one, or the end of the time.
    select.select([reading], [], [], grace)
    os.write(2, f"{TOLD}\n".encode())
    os._exit(EXIT_CODE)  # workers end when their parent is gone


def load_modules_whole() -> None:
    """From now on answer a Ctrl-C that comes while a module is loaded behind that.

    Amid an import it can be taken for an error of what is imported (pydantic's kernel says so of a model that it was
    making), leave the import lock held for good (seen once in 22 interrupted builds on a busy machine), or have Python
    end by the signal in spite of an exit code (when it comes while a string is executed, as those of dataclasses are).
    """
    from didact.interrupts import interrupts_later

    def whole(load: Callable[..., ModuleType]) -> Callable[..., ModuleType]:
        def loaded(*given: Any, **named: Any) -> ModuleType:
            # Inside the loading of another module, and of a kernel, it is answered later already.
            if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
                return load(*given, **named)
            with interrupts_later():
                return load(*given, **named)

        return loaded

    builtins.__import__ = whole(builtins.__import__)
    importlib.import_module = whole(importlib.import_module)
