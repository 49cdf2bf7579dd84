"""The server process that workers are forked from: it has imported what they need and started no thread.

Forking the process that leads them can deadlock, after Arrow or numba have started threads; the threads that OpenBLAS
and jemalloc start when they are loaded stop and start around a fork by themselves.
"""

from __future__ import annotations

import inspect
import multiprocessing
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import connection, forkserver, resource_tracker
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from didact.errors import CallError
from didact.interrupts import interrupts_later

METHOD = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
"""How workers come to be, as Python's `multiprocessing` calls it."""


@contextmanager
def deaf_children() -> Iterator[None]:
    """Processes that start inside the block never see Ctrl-C, which a terminal sends to all: not even before they can
    say that they ignore it. This process answers it at the end of the block, when it knows whom it has started.
    """
    # Started with the first worker, this process of Python's would lift the block.
    resource_tracker.ensure_running()
    with interrupts_later():
        held = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            yield
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, held)


@contextmanager
def unseen_script() -> Iterator[None]:
    """Processes that start inside the block do not import the script that this one runs, as Python would have them do:
    one that calls Didact at its top would be begun anew by each, and wait for itself.
    """
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


def refuse_while_starting() -> None:
    """Raise CallError in a worker that is about to be one, and imports the script for what this registers."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise CallError(
            "Didact was called by a worker that imports this script, since the script registers a signal or a format: "
            'put the calls below `if __name__ == "__main__":`, or what is registered into a file that `plugins` names'
        )


def start_server(preload: Sequence[str]) -> None:
    """Start the server, where there is such a thing and none runs yet. It loads the modules `preload` while this
    process goes on.
    """
    if METHOD == "forkserver":
        multiprocessing.get_context(METHOD).set_forkserver_preload(list(preload))
        with deaf_children():
            forkserver.ensure_running()


def fork_server(preload: Sequence[str]) -> None:
    """As `start_server`, but fork the server off this process, so that it has what this one has loaded; it loads the
    rest. That halves what a command takes to load its modules and those of its workers.

    Only for a process that has started no thread yet which may hold a lock: nobody would release it in the server.
    Should this one die, Python starts another in its place as usual, and does so from the start where its server is not
    the one that is known.
    """
    server: Any = forkserver._forkserver
    if not _is_known(server):
        start_server(preload)
        return
    multiprocessing.get_context(METHOD).set_forkserver_preload(list(preload))
    with deaf_children(), server._lock, socket.socket(socket.AF_UNIX) as listener:
        if server._forkserver_pid is not None:
            return
        address = connection.arbitrary_address("AF_UNIX")  # type: ignore[attr-defined]
        listener.bind(address)
        Path(address).chmod(0o600)
        listener.listen()
        # All who may ask for workers hold the writing end; when all are gone the server ends.
        reading, writing = os.pipe()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            server._lock = threading.Lock()
            _serve(listener, reading, preload)
        os.close(reading)
        server._forkserver_address, server._forkserver_alive_fd, server._forkserver_pid = address, writing, pid


def _is_known(server: Any) -> bool:
    """Whether Python's server can be started by others: that of 3.11 to 3.13 can. Beside Linux, libraries of the system
    may not be forked once they are loaded.
    """
    state = ("_lock", "_forkserver_address", "_forkserver_alive_fd", "_forkserver_pid")
    asked = list(inspect.signature(forkserver.main).parameters)
    known = asked == ["listener_fd", "alive_r", "preload", "main_path", "sys_path"]
    return (
        sys.platform == "linux" and METHOD == "forkserver" and known and all(map(server.__dict__.__contains__, state))
    )


def _serve(listener: socket.socket, alive: int, preload: Sequence[str]) -> NoReturn:
    """Be the server, in the process that was forked for it."""
    code = 1
    try:
        forkserver.main(listener.detach(), alive, list(preload))
    except SystemExit:
        code = 0
    finally:
        if code:
            sys.excepthook(*sys.exc_info())
        # What the forked process was to do at its end is not the server's to do.
        os._exit(code)
