"""The local engine: a pool of processes, one thread each.

They are forked from a server process (see `didact.engine.server`); where there is no such server (Windows) they are
spawned.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from types import TracebackType
from typing import Generic, Self

from didact.engine.base import Item, Result
from didact.engine.server import METHOD, deaf_children, refuse_while_starting, start_server, unseen_script
from didact.errors import EngineError
from didact.plugins import scripts_register

_SMALL = 8_000_000
"""Bytes of input as stored up to which everything runs in this process unless workers are asked for."""
ATTEMPTS = 3
"""How often an item may be held by a dying worker before it is blamed."""
_OWN_CALLS = '; or this script, which registers a part of its own, calls Didact outside `if __name__ == "__main__":`'
"""Another reason for workers to die, see `refuse_while_starting`."""
_LOOK = 1.0
"""Seconds between looks at whether a pool broke without saying so."""


def available_cores() -> int:
    """Cores this process may use. How many there are never changes what a build writes."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def without_cycle_collector() -> Iterator[None]:
    """Hold Python's cyclic collector back: records and tables have no cycles, so it would visit them in vain."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def fitting_workers(total_bytes: int) -> int:
    """One worker per core, or none beside this process where starting them would take longer than the work.

    A spawned worker needs about two seconds to load its kernels; one core cleans 8 MB of instructions in less.
    """
    return available_cores() if total_bytes > _SMALL else 1


def _start_worker() -> None:
    """Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work_alone()


def work_alone() -> None:
    """Settle this process as one worker of several: one thread, since there is a worker per core.

    Records hold no reference cycles, so the cyclic collector only costs: without it, reading is a quarter faster.
    """
    gc.disable()
    import pyarrow as pa

    pa.set_cpu_count(1)
    pa.set_io_thread_count(1)


def _end_with_parent() -> None:
    """End this worker when its parent is gone: a killed parent cannot say so, and its workers would wait for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


class LocalEngine:
    """Runs items in this process (one worker) or in a pool of others."""

    def __init__(self, workers: int | None = None, preload: Sequence[str] = ()) -> None:
        """`preload` are modules whose import does most of what a worker does before its first item.

        The first engine of a process decides, or who started the server before, since there is one server for all;
        what it lacks, workers load by themselves.
        """
        refuse_while_starting()
        self.workers = workers if workers is not None else available_cores()
        self._pool: ProcessPoolExecutor | None = None
        self._context = multiprocessing.get_context(METHOD)
        if self.workers > 1:
            start_server(preload)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        # After an error workers end what they have in hand, so that on a full disk nothing half-written takes up room.
        if kind is not None and not issubclass(kind, Exception):
            self._stop_workers()
        self.close()

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """Pairs of item and result as they come; at most two items per worker are in flight, so memory is bounded.

        Raises EngineError when an item's worker dies again and again (out of memory, most often).
        """
        if self.workers == 1:
            return ((item, function(item)) for item in items)
        return _Round(self, function, iter(items)).results()

    def start(self) -> ProcessPoolExecutor:
        """The running pool; started on first use."""
        if self._pool is None:
            pool = ProcessPoolExecutor(self.workers, mp_context=self._context, initializer=_start_worker)
            # Python would start each worker when an item finds none idle, while a thread watches those that it knows.
            # If one of these died meanwhile, the pool closed the pipes that the new one was to get ("handle is
            # closed"), or waited for it at exit for ever. So all are started before that thread, as when they are
            # forked from this process.
            pool._safe_to_dynamically_spawn_children = False  # type: ignore[attr-defined]
            self._pool = pool
        return self._pool

    @property
    def broken(self) -> bool:
        """Whether the running pool lost a worker."""
        return self._pool is not None and bool(self._pool._broken)

    def submit(self, function: Callable[[Item], Result], item: Item) -> Future[Result]:
        """Give the pool an item, for which a worker may start."""
        with deaf_children(), nullcontext() if scripts_register() else unseen_script():
            return self.start().submit(function, item)

    def _stop_workers(self) -> None:
        """End the workers amid their items, which can take as long as it takes to clean a chunk. They leave whole files
        and asides, never half a file under its name.
        """
        processes = (self._pool._processes if self._pool is not None else None) or {}
        for process in list(processes.values()):
            process.terminate()

    def restart(self) -> None:
        """Drop a pool that lost a worker; the next use starts another. None of its workers stays behind, not even where
        it could not start all, or did not know of one.
        """
        self._stop_workers()
        self.close()

    def close(self) -> None:
        """Let the workers go, and wait for them. At the end of the process Python wakes the threads that watch workers,
        with a traceback where one just closes what it is woken by.
        """
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


class _Round(Generic[Item, Result]):
    """One `map` call: what is in flight, what must be tried again."""

    def __init__(self, engine: LocalEngine, function: Callable[[Item], Result], items: Iterator[Item]) -> None:
        self.engine, self.function, self.items = engine, function, items
        self.flying: dict[Future[Result], tuple[Item, int]] = {}
        self.again: deque[tuple[Item, int]] = deque()

    def results(self) -> Iterator[tuple[Item, Result]]:
        while self._fill():
            done, _ = wait(self.flying, _LOOK, return_when=FIRST_COMPLETED)
            if not done and self.engine.broken:
                # Before Python 3.12, an item that comes in just when a pool breaks may be forgotten by it.
                self._lost(*self.flying.popitem()[1])
            for future in done:
                item, attempt = self.flying.pop(future)
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    self._lost(item, attempt)
                    break
                if error is not None:
                    raise error
                yield item, future.result()

    def _fill(self) -> bool:
        """Keep every worker busy; False when nothing is left to do."""
        while len(self.flying) < 2 * self.engine.workers:
            if self.again:
                item, attempt = self.again.popleft()
            else:
                try:
                    item, attempt = next(self.items), 1
                except StopIteration:
                    break
            try:
                self.flying[self.engine.submit(self.function, item)] = (item, attempt)
            except (BrokenProcessPool, EOFError, ConnectionError):
                # The last two when the server that workers are forked from was killed while one was asked for.
                self._lost(item, attempt)
        return bool(self.flying)

    def _lost(self, item: Item, attempt: int) -> None:
        """A worker died: everything in flight is tried again in a new pool."""
        held = [(item, attempt), *self.flying.values()]
        self.flying.clear()
        self.engine.restart()
        if attempt >= ATTEMPTS:
            raise EngineError(
                f"a worker process died {attempt} times in a row, probably out of memory; run with fewer --workers"
                + (_OWN_CALLS if scripts_register() else "")
            )
        self.again.extend((held_item, tries + 1) for held_item, tries in held)
