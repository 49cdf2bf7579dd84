"""Time, memory and amounts of the stages of a build, for `build.json`; nothing a version holds depends on them."""

from __future__ import annotations

import os
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypedDict

from didact.engine.base import Engine, Item, Result

_HERE = Path("/proc/self")


class StageMeasure(TypedDict):
    """One stage. Megabytes are 10^6 bytes."""

    stage: str
    seconds: float
    """Wall time."""
    cpu_seconds: float
    """Time on a core, of the process that leads and all its threads."""
    worker_cpu_seconds: float
    """The same of the workers while they worked for the stage, all together; 0 where there are none."""
    peak_mb: int
    """Highest resident memory of the process that leads during the stage."""
    worker_peak_mb: int
    """The same of the largest worker; 0 where there are none."""
    rows: int
    """Rows that the stage worked on."""
    bytes: int
    """Bytes it read (of inputs, decompressed) or wrote (of files); 0 for decisions over arrays."""


class Cost(NamedTuple):
    """What one item cost the process that ran it."""

    process: str
    cpu_seconds: float
    peak_mb: int


@dataclass
class Measures:
    """Measures stages one after the other."""

    done: list[StageMeasure] = field(default_factory=list)
    rows: int = 0
    bytes: int = 0
    """Of the stage that goes on: what it has worked on so far."""
    counted: dict[str, int] = field(default_factory=dict)
    _name: str = ""
    _began: float = 0.0
    _cpu: float = 0.0
    _worker_cpu: float = 0.0
    _worker_peak: int = 0

    def stage(self, name: str) -> None:
        """End the stage before and begin another."""
        self._end()
        _forget_peak()
        self._name, self._began, self._cpu = name, time.monotonic(), time.process_time()
        self.rows, self.bytes, self._worker_cpu, self._worker_peak = 0, 0, 0.0, 0

    def worked(self, cost: Cost) -> None:
        """A worker has run an item; what this process ran itself is measured anyway."""
        if cost.process != _process():
            self._worker_cpu += cost.cpu_seconds
            self._worker_peak = max(self._worker_peak, cost.peak_mb)

    def chunks(self, made: int, found: int) -> None:
        """Remember how many chunks were run, and how many had their result on file."""
        self.counted = {"made": made, "found": found}

    def report(self) -> dict[str, Any]:
        """End the last stage and give all, with the chunks run and found."""
        self._end()
        self._name = ""
        return {"stages": self.done, "chunks": self.counted}

    def _end(self) -> None:
        if self._name:
            self.done.append(
                StageMeasure(
                    stage=self._name,
                    seconds=round(time.monotonic() - self._began, 3),
                    cpu_seconds=round(time.process_time() - self._cpu, 3),
                    worker_cpu_seconds=round(self._worker_cpu, 3),
                    peak_mb=_peak_mb(),
                    worker_peak_mb=self._worker_peak,
                    rows=self.rows,
                    bytes=self.bytes,
                )
            )


class Measured(Generic[Item, Result]):
    """A function that tells what each item cost; workers get it in the place of the function."""

    def __init__(self, function: Callable[[Item], Result], leader: str) -> None:
        self.function, self.leader = function, leader
        self.__name__ = function.__name__

    def __call__(self, item: Item) -> tuple[Result, Cost]:
        """The result, and the cost."""
        process = _process()
        if process != self.leader:
            _forget_peak()
        began = time.process_time()
        result = self.function(item)
        return result, Cost(process, time.process_time() - began, _peak_mb())


class MeasuredEngine:
    """An engine whose workers' time and memory are told to the measures."""

    def __init__(self, engine: Engine, measures: Measures) -> None:
        self.engine, self.measures = engine, measures

    @property
    def workers(self) -> int:
        """As the engine's own, which may have more or fewer as time goes on."""
        return self.engine.workers

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[tuple[Item, Result]]:
        """As the engine's own."""
        for item, (result, cost) in self.engine.map(Measured(function, _process()), items):
            self.measures.worked(cost)
            yield item, result

    def close(self) -> None:
        """As the engine's own."""
        self.engine.close()


def _process() -> str:
    """A name for this process that no other one of a cluster has."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _forget_peak() -> None:
    """Let Linux count the peak of this process's memory from now on (proc(5), clear_refs); elsewhere it goes on."""
    try:
        (_HERE / "clear_refs").write_bytes(b"5")
    except OSError:
        return


def _peak_mb() -> int:
    """Highest resident memory in MB since `_forget_peak`, or of the process's life where the system tells only that."""
    try:
        told = (_HERE / "status").read_text()
    except OSError:
        told = ""
    for line in told.splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 // 1_000_000
    # In KiB, on macOS in bytes.
    return int(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // (1_000_000 if sys.platform == "darwin" else 1_000))
