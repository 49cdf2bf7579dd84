"""Interleaved rounds: every contender once a round, so that what else the machine does meets all of them alike."""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple


class Stretch(NamedTuple):
    """What a contender measured itself, to leave its start out: how much it did, in wall and in processor seconds."""

    amount: int
    seconds: float
    cpu_seconds: float


Contender = Callable[[], int | Stretch]
"""Does the whole work once and tells how much it was, in the comparison's unit."""


@dataclass
class Comparison:
    """What was measured of some contenders on the same data; the first is Didact's."""

    title: str
    unit: str
    speeds: dict[str, list[float]]
    """Units a second, round by round."""
    cpu_speeds: dict[str, list[float]] = field(default_factory=dict)
    """Units a second of processor time, where contenders run in this process."""
    notes: list[str] = field(default_factory=list)

    def ratios(self, peer: str) -> list[float]:
        """How many times faster the first contender was, in each round."""
        return _ratios(self.speeds, peer)

    def lines(self) -> list[str]:
        """The comparison as text: every speed and every ratio as median (least to greatest)."""
        first = next(iter(self.speeds))
        told = [f"{self.title}, in {self.unit}/s, median (min to max) of {len(self.speeds[first])} rounds"]
        told += [f"  {name:50} {spread(values, ',.0f')}" for name, values in self.speeds.items()]
        for peer in list(self.speeds)[1:]:
            told.append(f"  {f'{first} / {peer}':50} {spread(self.ratios(peer), '.2f')}")
        for peer in list(self.cpu_speeds)[1:]:
            ratios = spread(_ratios(self.cpu_speeds, peer), ".2f")
            told.append(f"  {'by processor time, / ' + peer:50} {ratios}")
        return [*told, *(f"  {note}" for note in self.notes)]


def _ratios(speeds: dict[str, list[float]], peer: str) -> list[float]:
    first = next(iter(speeds.values()))
    return [own / other for own, other in zip(first, speeds[peer], strict=True)]


def spread(values: list[float], form: str) -> str:
    """Median (least to greatest)."""
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({least:{form}} to {most:{form}})"


def compare(
    title: str,
    unit: str,
    contenders: Mapping[str, Contender],
    rounds: int,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    processor_time: bool = False,
) -> Comparison:
    """Run every contender once per round, after one round that is not counted (kernels compile, caches fill).

    processor_time: compare by it too, for contenders that compute in this process on a machine that others use.
    """
    if warm:
        for run in contenders.values():
            run()
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    cpu_speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        # Each round begins with another contender, since the first pays for what the round before left behind.
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started, cpu = clock(), time.process_time()
            done = contenders[name]()
            found = done if isinstance(done, Stretch) else Stretch(done, clock() - started, time.process_time() - cpu)
            speeds[name].append(found.amount / found.seconds)
            cpu_speeds[name].append(found.amount / max(found.cpu_seconds, 1e-9))
    return Comparison(title, unit, speeds, cpu_speeds if processor_time else {})


def machine() -> list[str]:
    """What the figures depend on: processor, cores, load, Python and packages."""
    packages = ("numpy", "numba", "pyarrow", "torch", "datasets", "datasketch", "tokenizers", "transformers")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return [
        f"processor: {_processor()}, {cores} cores, load {load} at the start",
        f"python {platform.python_version()} on {platform.system()} {platform.machine()}",
        ", ".join(f"{name} {version(name)}" for name in packages),
    ]


def _processor() -> str:
    listed = Path("/proc/cpuinfo")
    if listed.is_file():
        for line in listed.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or "unknown"
