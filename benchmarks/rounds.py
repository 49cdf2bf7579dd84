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

Contender = Callable[[], int]
"""Does the whole work once and tells how much it was, in the comparison's unit."""


@dataclass
class Comparison:
    """What was measured of some contenders on the same data; the first is Didact's."""

    title: str
    unit: str
    speeds: dict[str, list[float]]
    """Units a second, round by round."""
    notes: list[str] = field(default_factory=list)

    def ratios(self, peer: str) -> list[float]:
        """How many times faster the first contender was, in each round."""
        first = next(iter(self.speeds.values()))
        return [own / other for own, other in zip(first, self.speeds[peer], strict=True)]

    def lines(self) -> list[str]:
        """The comparison as text: every speed and every ratio as median (least to greatest)."""
        first = next(iter(self.speeds))
        told = [f"{self.title}, in {self.unit}/s, median (min to max) of {len(self.speeds[first])} rounds"]
        told += [f"  {name:50} {_spread(values, ',.0f')}" for name, values in self.speeds.items()]
        for peer in list(self.speeds)[1:]:
            told.append(f"  {f'{first} / {peer}':50} {_spread(self.ratios(peer), '.2f')}")
        return [*told, *(f"  {note}" for note in self.notes)]


def _spread(values: list[float], form: str) -> str:
    middle, least, most = statistics.median(values), min(values), max(values)
    return f"{middle:{form}} ({least:{form}} to {most:{form}})"


def compare(
    title: str,
    unit: str,
    contenders: Mapping[str, Contender],
    rounds: int,
    warm: bool = True,
    clock: Callable[[], float] = time.perf_counter,
) -> Comparison:
    """Run every contender once per round, after one round that is not counted (kernels compile, caches fill)."""
    if warm:
        for run in contenders.values():
            run()
    speeds: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds):
        # Each round begins with another contender, since the first pays for what the round before left behind.
        names = list(contenders)
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            started = clock()
            amount = contenders[name]()
            speeds[name].append(amount / (clock() - started))
    return Comparison(title, unit, speeds)


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
